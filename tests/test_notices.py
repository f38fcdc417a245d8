"""The log only says where to look: lost, strange and unreadable notices, and dead letters."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors._kit.simtool import PERSON, Profile
from hub import commands, dead, resolve
from hub.io.kafka import KafkaLog
from hub.io.log import DEAD_KEPT_MS, Message, TableLog
from hub.io.rows import Rows
from hub.io.state import Vault
from hub.settings import Kafka
from hub.tools.world import World

CDC, DEAD = f"cdc.A.{PERSON}", f"dead.A.{PERSON}"


def world() -> World:
    """A tool with a person, who was captured and not yet resolved."""
    made = World({"A": Profile()})
    made.tools["A"].act("jane", {"mail": "jane@x.com"})
    made.capture("A")
    return made


def pending(made: World) -> int:
    """How many inputs wait."""
    return made.store.view(lambda rows: rows.count("input", {"status": "pending"}))


def test_an_input_without_a_notice_is_resolved_from_the_table() -> None:
    """A log that loses what it was given costs ten seconds, and nothing else."""
    made = world()
    made.store.transact(lambda rows: rows.delete("outbox", {}))
    made.resolve()
    assert pending(made) == 1
    made.clock.pass_time(resolve.OVERDUE_MS)
    made.resolve()
    assert pending(made) == 0
    assert "jane@x.com" in str(commands.explain(made.hub, "jane@x.com"))


def test_a_poisoned_input_without_a_notice_is_set_aside() -> None:
    """It blocks none of the others, which are resolved from the table."""
    made = world()
    made.tools["A"].act("joe", {"mail": "joe@x.com"})
    made.capture("A")
    made.store.transact(lambda rows: rows.delete("outbox", {}))
    spoil(made, "jane")
    made.clock.pass_time(resolve.OVERDUE_MS)
    made.resolve()
    assert pending(made) == 0
    assert len(commands.parked(made.hub)["parked"]) == 1


def spoil(made: World, native: str) -> str:
    """Damage the sealed body of the input of one record; returns its uid."""

    def work(rows: Rows) -> str:
        (alias,) = rows.select("alias", {"native_id": native})
        rows.lock([alias["uid"]])
        rows.update("input", {"uid": alias["uid"], "status": "pending"}, {"body": b"\x01damaged"})
        return str(alias["uid"])

    return made.store.transact(work)


@pytest.mark.parametrize("key", [b"", b"\xff\xfe", b"jane@x.com", b"0" * 36, b"\0" * 4_000])
def test_a_notice_of_no_record_blocks_nobody(key: bytes) -> None:
    """A message whose key is no uid is counted; what came with it is resolved."""
    made = world()
    made.store.transact(lambda rows: made.hub.log.publish(rows, CDC, key, b"?", {}, 1))
    made.resolve()
    assert pending(made) == 0
    counters = made.store.view(lambda rows: rows.select("counter", {"name": "messages_set_aside"}))
    assert [(row["system"], row["n"]) for row in counters] == [("A", 1)]


def letters(made: World) -> list[Message]:
    """All dead letters."""
    found: list[Message] = []
    made.hub.log.turn(made.env, "test", [DEAD], 99, lambda _, some: found.extend(some), "")
    return found


def test_what_is_set_aside_is_a_dead_letter() -> None:
    """The event as it was, keyed by uid, with Kafka Connect's headers and nobody's data in them."""
    made = world()
    uid = spoil(made, "jane")
    event = made.store.view(lambda rows: rows.select("outbox"))[0]
    made.resolve()
    (letter,) = letters(made)
    assert (letter.key, letter.value) == (uid.encode(), event["value"])
    names = "topic partition offset connector.name task.id stage class.name exception.class.name"
    wanted = {*names.split(), "exception.message", "exception.stacktrace"}
    told = {k.removeprefix(dead.PREFIX): v for k, v in letter.headers.items()}
    assert wanted == told.keys() - {"traceparent"}
    assert (told["topic"], told["offset"]) == (CDC, "0")
    assert told["exception.class.name"] == "hub.io.seal.CannotOpen"
    assert "state.py" in told["exception.stacktrace"]


class Quoting(Vault):
    """Opens nothing, and says whose it was."""

    def open(self, *_: Any) -> bytes:
        """See `Vault`."""
        raise ValueError("jane@x.com is odd")


def test_no_personal_data_is_in_a_dead_letters_headers() -> None:
    """An error that quotes a customer is named by its class only."""
    made = world()
    made.hub.vault = Quoting(made.hub.vault.seal, made.hub.vault.pepper)
    made.resolve()
    (letter,) = letters(made)
    assert letter.headers[f"{dead.PREFIX}exception.class.name"] == "builtins.ValueError"
    assert "jane" not in str(letter.headers)


def test_dead_letters_end_after_a_week() -> None:
    """Nobody here reads them, and they do not grow for ever."""
    made = world()
    spoil(made, "jane")
    made.resolve()
    held = {"topic": DEAD}
    for after, left in ((DEAD_KEPT_MS - 1_000, 1), (DEAD_KEPT_MS + 60_000, 0)):
        then = made.clock.time + after
        made.store.transact(lambda rows, t=then: made.hub.log.prune(rows, t))  # type: ignore[misc]
        assert made.store.view(lambda rows: rows.count("log", held)) == left


def test_a_hub_on_kafka(kafka: str) -> None:
    """The resolver cannot tell where its notices came from, and goes on without."""
    told = {"bootstrap": kafka, "prefix": f"{uuid4().hex[:8]}.", "replication": 1}
    made = world()
    assert isinstance(made.hub.log, TableLog)
    kept = Kafka.model_validate({**told, "partitions": 2, "retention_hours": 99_999})
    with closing(KafkaLog(kept, Path(), resolve.topics(made.hub))) as log:
        made.hub.log = log
        log.start()
        assert log.relay(made.env) == 1
        for _ in range(40):
            if not pending(made):
                break
            resolve.step(made.hub)
        assert "jane@x.com" in str(commands.explain(made.hub, "jane@x.com"))
        made.tools["A"].act("joe", {"mail": "joe@x.com"})
        made.capture("A")
        made.store.transact(lambda rows: rows.delete("outbox", {}))
        made.clock.pass_time(resolve.OVERDUE_MS)
        resolve.step(made.hub)
        assert pending(made) == 0
        made.tools["A"].act("jim", {"mail": "jim@x.com"})
        made.capture("A")
        resolve.drain(made.hub)  # as a command does where no loop runs: nothing is relayed
        assert pending(made) == 0
