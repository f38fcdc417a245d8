"""Events of the hub on a real broker, read by others with nothing of ours but the page."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hub import loops
from hub.env import DAY_MS
from hub.io.codec import Codec
from hub.io.kafka import KafkaLog
from hub.io.registry import Registered, way
from hub.io.rows import Row
from hub.io.schemas import SCHEMAS
from hub.io.twin import DictStore
from hub.settings import Kafka
from hub.tools.world import World
from hub.wiring import RealEnv
from tests.stories.runner import lines_of, opening, step

STORY = """
tools A B
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0101" note=hi tags=vip,de
A.jane address="1 Road||Leeds||LS1|GB"
B.joan name="Joan Roe" email=joan@x.com
A.acme company legal_name="Acme Ltd" domain=acme.com
sync
A.jane note= tags=vip consent=out
sync
B.joan consent=proof
sync
steward: A.jane is B.joan
sync
A.jane delete
sync
"""


class Recorded(Codec):
    """The hub's codec, which remembers what it was given to write."""

    def __init__(self, registry: Registered) -> None:
        super().__init__(registry)
        self.given: dict[bytes, Any] = {}

    def encode(self, topic: str, name: str, value: dict[str, Any]) -> bytes:
        """See `Codec`."""
        data = super().encode(topic, name, value)
        self.given[data] = plain(value)
        return data


def plain(value: Any) -> Any:
    """Without the names of types beside records."""
    if isinstance(value, tuple):
        return plain(value[1])
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


Sent = dict[str, list[tuple[str, Any]]]  # by topic: keys and values, in order


@pytest.fixture
def sent(kafka: str, registry: str, tmp_path: Path) -> Iterator[Sent]:
    """What a hub with work behind it has told, tombstones too, on the broker."""
    prefix = f"t{uuid.uuid4().hex}."
    codec = Recorded(Registered(way(registry), prefix, lambda: 0))
    rows = told(codec)
    publish(kafka, prefix, rows, tmp_path)
    found: Sent = {}
    for row in rows:
        value = row["value"] and codec.given[row["value"]]
        found.setdefault(prefix + row["topic"], []).append((row["key"].decode(), value))
    yield found
    codec.close()


def told(codec: Codec) -> list[Row]:
    """All messages of a world in which much has happened, and the merged have been forgotten."""
    lines = lines_of(STORY)
    story = opening(lines, {})
    story.world.hub.codec = codec
    for _, line in lines[1:]:
        step(story, line)
    before = logged(story.world)
    story.world.clock.pass_time(31 * DAY_MS)
    loops.house(story.world.hub)
    story.world.hub.log.relay(story.world.env)
    return before + [row for row in logged(story.world) if row not in before]


def logged(world: World) -> list[Row]:
    """What is on the log."""
    return world.store.view(lambda r: r.select("log", order=("topic", "partition", "offset")))


def publish(kafka: str, prefix: str, rows: list[Row], folder: Path) -> None:
    """Bring messages into Kafka as the hub does, in topics of one partition."""
    store, now = DictStore(), time.time_ns() // 1_000_000
    new = [{**row, "at": now} for row in rows]  # a broker drops at once what is old
    waiting = [{k: row[k] for k in ("topic", "key", "value", "headers", "at")} for row in new]
    store.transact(lambda r: r.insert_many("outbox", waiting))
    where = Kafka(bootstrap=kafka, prefix=prefix, partitions=1, replication=1)
    with closing(KafkaLog(where, folder, {row["topic"] for row in rows})) as log:
        log.start()
        while log.relay(RealEnv(store)):
            pass


class Enough(Exception):
    """All was read."""


def examples() -> list[str]:
    """The pieces of Python on the page."""
    return re.findall(r"```python\n(.*?)```", (SCHEMAS / "README.md").read_text(), re.DOTALL)


def run(example: str, kafka: str, registry: str, topic: str, take: Callable[..., None]) -> None:
    """An example of the page at our addresses; what it prints is taken instead."""
    code = example.replace("kafka:9092", kafka).replace("golden.person", topic)
    code = code.replace("http://registry:8080/apis/ccompat/v7", registry)
    code = code.replace('"group.id": "mine"', f'"group.id": "g{uuid.uuid4().hex}"')
    assert code.count(topic) == 1
    with pytest.raises(Enough):
        exec(code, {"print": take})  # noqa: S102  the page's own text


@pytest.mark.parametrize("reader", ["kafka-python and fastavro", "Confluent's AvroDeserializer"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the examples end with their process
def test_others_read_what_was_sent(reader: str, sent: Sent, kafka: str, registry: str) -> None:
    """Each message has its key, and its value is equal field by field, to the last."""
    assert {topic.split(".", 1)[1] for topic in sent} >= {"golden.person", "cdc.A.people"}
    ends = [value for messages in sent.values() for _, value in messages if value is None]
    assert ends, "a tombstone is among them"
    example = examples()[0 if reader.startswith("kafka-python") else 1]
    assert ("AvroDeserializer" in example) == ("AvroDeserializer" in reader)
    for topic, wanted in sent.items():
        found: list[tuple[str, Any]] = []

        def take(key: str, event: Any, found: Any = found, wanted: Any = wanted) -> None:
            found.append((key, event))
            if len(found) == len(wanted):
                raise Enough

        run(example, kafka, registry, topic, take)
        assert found == wanted


def test_the_example_is_as_short_as_it_says() -> None:
    """Fifteen lines read our topics, and none of them imports anything of ours."""
    first, second = examples()
    for example in (first, second):
        assert "hub" not in re.findall(r"^(?:from|import) (\w+)", example, re.MULTILINE)
    assert len([line for line in first.splitlines() if line.strip()]) <= 15


def test_everything_that_can_be_told_was_sent(sent: Sent) -> None:
    """The comparison covers every letter, both entities, and each way of telling a value."""
    events = [value for messages in sent.values() for _, value in messages if value]
    assert {e["op"] for e in events} == set("crudm")
    assert {t.rpartition(".")[2] for t in sent if ".golden." in t} == {"person", "company"}
    after = [e["after"] for e in events if e["after"]]
    assert any("note" in a["covered"] and a["note"] is None for a in after if "note" in a)
    assert any("note" not in a["covered"] for a in after if "note" in a)
    states = {c["state"] for a in after for c in a.get("consent") or ()}
    assert states >= {"in", "out"}
    for messages in sent.values():
        assert all(uuid.UUID(key).version == 7 for key, _ in messages), "a key tells nothing"
    assert any(e["merged"] for e in events)
    assert any(e["merged_into"] for e in events)
