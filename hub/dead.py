"""Dead letters: what was set aside, as others' tools look for it.

The event that told of an input goes to `dead.<system>.<object>` as it was, with the headers of
Kafka Connect. They hold names and places only: an error's own text may quote a customer.
"""

from __future__ import annotations

from collections.abc import Sequence

from hub.env import Hub
from hub.io.log import Message, digits
from hub.io.rows import Row, Rows
from hub.logs import place

PREFIX = "__connect.errors."


def publish(
    rows: Rows, hub: Hub, item: Row, error: BaseException, notices: Sequence[Message]
) -> None:
    """Tell of an input that was set aside because of an error.

    Its event is among the `notices` by which it was found, or else the message has no value.
    """
    event_id = f"{item['uid']}:{item['seq']}"
    notice = told_by(event_id, notices)
    record = rows.get("record", uid=item["uid"])
    if record is None:
        return
    where = f"{record['system']}.{record['object']}"
    headers = {
        **(notice.headers if notice else {}),
        **origin(hub, f"cdc.{where}", notice),
        f"{PREFIX}connector.name": record["system"],
        f"{PREFIX}task.id": "0",
        f"{PREFIX}stage": "TASK_PUT",
        f"{PREFIX}class.name": "hub.resolve",
        f"{PREFIX}exception.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
        f"{PREFIX}exception.message": f"input {event_id} was set aside; synchub parked tells why",
        f"{PREFIX}exception.stacktrace": place(error.__traceback__),
    }
    value = notice.value if notice else None
    hub.log.publish(rows, f"dead.{where}", item["uid"].encode(), value, headers, hub.env.now())


def told_by(event_id: str, notices: Sequence[Message]) -> Message | None:
    """The message that told of this input: its span names it."""
    span = digits(event_id, 8)
    return next((m for m in notices if span in m.headers.get("traceparent", "").split("-")), None)


def origin(hub: Hub, topic: str, notice: Message | None) -> dict[str, str]:
    """Where the event lies, as far as it is known."""
    found = {f"{PREFIX}topic": hub.log.called(topic)}
    if notice:
        found |= {
            f"{PREFIX}partition": str(notice.partition),
            f"{PREFIX}offset": str(notice.offset),
        }
    return found
