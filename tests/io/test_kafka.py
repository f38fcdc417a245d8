"""The log on a real broker: races, paused and killed processes, faults, and who may read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from deploy.local.parts import Kafka as Broker
from hub.io.kafka import KafkaLog
from hub.io.log import LogDown, Moved
from hub.io.postgres import PostgresStore
from hub.io.rows import Row, Rows
from hub.settings import Kafka
from hub.wiring import RealEnv
from tests.services import certificates

LONG = os.environ.get("HUB_TEST_LONG") == "1"
TOPIC = "cdc.crm.contacts"
PATIENCE = 60  # seconds for what has to come


def now() -> int:
    """The time, in ms."""
    return time.time_ns() // 1_000_000


def settings(bootstrap: str, more: Mapping[str, object] = {}) -> Kafka:
    """A hub of its own on these brokers."""
    told = {"bootstrap": bootstrap, "prefix": f"{uuid4().hex[:8]}.", "partitions": 4}
    return Kafka.model_validate({**told, "replication": 1, **more})


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


@pytest.fixture
def env(postgres: str) -> Iterator[RealEnv]:
    """An empty store."""
    with closing(PostgresStore(postgres)) as store:
        yield RealEnv(store)


def publish(
    env: RealEnv, log: KafkaLog, numbered: Mapping[str, object], hold: float = 0, topic: str = TOPIC
) -> None:
    """One transaction with a message of each key, its number as its value; held open so long."""

    def work(rows: Rows) -> None:
        for key, n in numbered.items():
            log.publish(rows, topic, key.encode(), str(n).encode(), {}, now())
        time.sleep(hold)

    env.commit(work, "")


def published(kafka: Kafka) -> dict[str, list[int]]:
    """The numbers of each key in the order of the topic, as another client reads it."""
    found: dict[str, list[int]] = {}
    consumer = KafkaConsumer(
        kafka.prefix + TOPIC,
        bootstrap_servers=kafka.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=4_000,
    )
    for message in consumer:
        found.setdefault(message.key.decode(), []).append(int(message.value))
    consumer.close()
    return found


# -- other processes -----------------------------------------------------------------------------

SCRIPT = """
import sys, time
from functools import partial
from pathlib import Path
from hub.io import kafka
from hub.io.log import LogDown, Moved
from hub.io.postgres import PostgresStore
from hub.io.rows import above, among
from hub.settings import Kafka
from hub.wiring import RealEnv

settings, address, which, begun = Kafka.model_validate_json(sys.argv[1]), *sys.argv[2:]


class HighWater(kafka.KafkaLog):
    "A relay that remembers how far it came: what is committed later, with a lower id, is lost."

    last = 0

    def relay(self, env):
        new = env.view(lambda rows: rows.select("outbox", {"id": above(self.last)}, ("id",), 1_000))
        if new:
            self._begin(env, {row["topic"] for row in new})
            self.sender.send(new)
            self.last = new[-1]["id"]
            env.commit(partial(kafka.relayed, new, {row["id"] for row in new}), "relay")
        return len(new)


class Unchecked(kafka.KafkaLog):
    "A reader that moves its position whoever has the partition by now."

    def done(self, rows, group, messages):
        to = kafka.ends_of(messages).items()
        rows.update_many("position", [{**kafka.row_of(group, p), "offset": n} for p, n in to])


class Paused(RealEnv):
    "Waits before its first effect is kept, so that it can be stopped just there."

    def commit(self, work, point):
        if point == "effect" and not Path(begun).exists():
            Path(begun).touch()
            time.sleep(1)
        return super().commit(work, point)


def effect(rows, messages):
    for m in messages:
        rows.add("counter", {"system": "effects", "name": m.key.decode()}, "n", 1)


log = getattr(kafka, which, None) or globals()[which]
log, env = log(settings, Path(), []), Paused(PostgresStore(address))
while True:
    try:
        if begun:
            log.turn(env, "g", ["cdc.crm.contacts"], 20, effect, "effect")
        elif not log.relay(env):
            time.sleep(0.01)
    except (Moved, LogDown) as error:
        print(repr(error), flush=True)
        time.sleep(0.1)
"""


@contextmanager
def process(
    kafka: Kafka, address: str, which: str = "KafkaLog", begun: Path | str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A relay, or with `begun` a reader that makes this file before its first effect."""
    words = [sys.executable, "-c", SCRIPT, kafka.model_dump_json(), address, which, str(begun)]
    with subprocess.Popen(words) as made:  # noqa: S603
        try:
            yield made
        finally:
            made.kill()


# -- publishing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["KafkaLog", "HighWater"])
def test_racing_transactions_are_published_in_order(
    which: str, kafka: str, postgres: str, env: RealEnv
) -> None:
    """Nothing is missing and each key is in order, though one is held open and the relay killed."""
    told, threads, each = settings(kafka), 4, 300
    log = KafkaLog(told, Path(), [TOPIC])
    log.start()

    def racing(thread: int) -> None:
        for n in range(each):
            publish(env, log, {f"{thread}": n, f"{thread}-{n % 50}": n // 50})
            time.sleep(0.01)

    def held_open() -> None:
        publish(env, log, {"held": 0}, hold=5)
        publish(env, log, {"held": 1})

    with ThreadPoolExecutor(threads + 1) as pool, closing(log):
        ends = [pool.submit(racing, n) for n in range(threads)]
        for _ in range(2):
            with process(told, postgres, which) as relay:
                assert until(partial(behind, env, oldest(env)))
                relay.send_signal(signal.SIGKILL)
        with process(told, postgres, which):
            publish(env, log, {"late": 0})
            assert until(partial(behind, env, oldest(env)))
            ends += [pool.submit(held_open)]
            time.sleep(1)
            publish(env, log, {"late": 1})
            for end in ends:
                end.result()
            missing = not until(lambda: not env.view(lambda rows: rows.count("outbox")), 8)
    found = published(told)
    wanted = {f"{t}": list(range(each)) for t in range(threads)} | {"held": [0, 1], "late": [0, 1]}
    wanted |= {f"{t}-{k}": list(range(each // 50)) for t in range(threads) for k in range(50)}
    first_seen = {key: list(dict.fromkeys(ns)) for key, ns in found.items()}
    assert (first_seen == wanted and not missing) == (which == "KafkaLog")


def oldest(env: RealEnv) -> int:
    """The lowest number that waits in the outbox, 0 where none does for some time."""
    found: list[Row] = []

    def waits() -> bool:
        found.extend(env.view(lambda rows: rows.select("outbox", None, ("id",), 1, only=("id",))))
        return bool(found)

    return int(found[0]["id"]) if until(waits, 2) else 0


def behind(env: RealEnv, number: int) -> bool:
    """Whether this one was published, and taken out of the outbox."""
    return not env.view(lambda rows: rows.count("outbox", {"id": number}))


def test_a_relay_that_was_replaced_is_shut_out(kafka: str, env: RealEnv) -> None:
    """It publishes nothing more, says so, and what it had in hand is published once."""
    told = settings(kafka)
    with closing(KafkaLog(told, Path(), [])) as old, closing(KafkaLog(told, Path(), [])) as new:
        for log in (old, new):
            publish(env, log, {"k": 1 if log is old else 2})
            log.relay(env)
        publish(env, old, {"k": 3})
        with pytest.raises(Moved, match="another relay"):
            old.relay(env)
        assert new.relay(env) == 1
    assert published(told) == {"k": [1, 2, 3]}


def test_what_no_broker_takes_blocks_nobody(kafka: str, env: RealEnv) -> None:
    """A message beyond the broker's size, and one of no topic of ours, are counted and left out."""
    told = settings(kafka)
    with closing(KafkaLog(told, Path(), [])) as log:
        publish(env, log, {"a": 1, "b": "1".zfill(1_500_000), "c": 1})
        publish(env, log, {"d": 1}, topic="cdc/odd")
        assert log.relay(env) == 4
        assert log.relay(env) == 0
    assert published(told) == {"a": [1], "c": [1]}
    assert counted(env, "messages_not_published") == 2


def counted(env: RealEnv, name: str) -> int:
    """A counter, over all systems."""
    rows = env.view(lambda rows: rows.select("counter", {"name": name}))
    return sum(row["n"] for row in rows)


# -- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["KafkaLog", "Unchecked"])
def test_a_paused_reader_repeats_nothing(
    which: str, kafka: str, postgres: str, env: RealEnv, tmp_path: Path
) -> None:
    """It is replaced while it is stopped in the middle of a batch: one effect each, none lost."""
    told = settings(kafka)
    begun, other = tmp_path / "begun", tmp_path / "other"
    other.touch()
    with ExitStack() as stack:
        log = stack.enter_context(closing(KafkaLog(told, Path(), [TOPIC])))
        log.start()
        keys = [f"k{n}" for n in range(200)]
        publish(env, log, dict.fromkeys(keys, 0))
        log.relay(env)
        paused = stack.enter_context(process(told, postgres, which, begun))
        assert until(begun.exists)
        paused.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        stack.enter_context(process(told, postgres, which, other))
        assert until(lambda: len(effects(env)) == len(keys))
        assert time.monotonic() - stopped < 15, "a dead process is taken over within 15 s"
        paused.send_signal(signal.SIGCONT)
        time.sleep(2)
        publish(env, log, dict.fromkeys([f"later {k}" for k in keys], 0))
        log.relay(env)
        assert until(lambda: len(effects(env)) == 2 * len(keys))
        time.sleep(0.5)
    assert (set(effects(env).values()) == {1}) == (which == "KafkaLog")


def effects(env: RealEnv) -> dict[str, int]:
    """How often each message had its effect."""
    rows = env.view(lambda rows: rows.select("counter", {"system": "effects"}))
    return {row["name"]: row["n"] for row in rows}


def test_readers_share_the_partitions(kafka: str, postgres: str, env: RealEnv) -> None:
    """Two readers divide the work, one of them is killed, and each message has one effect."""
    told = settings(kafka)
    with ExitStack() as stack:
        log = stack.enter_context(closing(KafkaLog(told, Path(), [TOPIC])))
        log.start()
        readers = [stack.enter_context(process(told, postgres, begun="/")) for _ in range(2)]
        for part in range(30):
            publish(env, log, {f"k{n}": 0 for n in range(part * 20, part * 20 + 20)})
            log.relay(env)
            time.sleep(0.2)
            if part == 15:
                readers[0].send_signal(signal.SIGKILL)
        assert until(lambda: len(effects(env)) == 600)
    assert set(effects(env).values()) == {1}


@contextmanager
def admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Who may do everything with the brokers."""
    made = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        yield made
    finally:
        made.close()


def read(log: KafkaLog, env: RealEnv) -> list[str]:
    """The keys of one turn."""
    keys, _ = log.turn(env, "g", [TOPIC], 100, lambda _, some: [m.key.decode() for m in some], "")
    return keys or []


def read_until(log: KafkaLog, env: RealEnv, key: str) -> list[str]:
    """The keys of all turns until one is there."""
    found: list[str] = []
    assert until(lambda: key in (found.__iadd__(read(log, env))))
    return found


def test_anything_may_lie_in_a_topic(kafka: str, env: RealEnv) -> None:
    """Foreign messages without key, with bytes for text and nothing in headers are read as such."""
    told = settings(kafka)
    with closing(KafkaLog(told, Path(), [TOPIC])) as log:
        log.start()
        producer = Producer({"bootstrap.servers": kafka})
        producer.produce(told.prefix + TOPIC, None, None, headers=[("h", None), ("i", b"\xff")])
        producer.flush()
        found: list[tuple[bytes, Mapping[str, str]]] = []

        def work(_: Rows, messages: object) -> None:
            found.extend((m.key, m.headers) for m in messages)  # type: ignore[attr-defined]

        assert until(lambda: log.turn(env, "g", [TOPIC], 9, work, "")[1] == 1)
    assert found == [(b"", {"h": "", "i": "\ufffd"})]


def test_a_deleted_topic_is_made_anew(kafka: str, env: RealEnv) -> None:
    """What was not read is lost, and counted; what is announced later is read, under way or not."""
    told = settings(kafka)
    with closing(KafkaLog(told, Path(), [TOPIC])) as log, admin(kafka) as brokers:
        log.start()
        publish(env, log, {f"k{n}": 0 for n in range(100)})
        log.relay(env)
        read_until(log, env, "k99")
        brokers.delete_topics([told.prefix + TOPIC])

        def told_again() -> bool:
            with suppress(LogDown):
                log.relay(env)
            return not env.view(lambda rows: rows.count("outbox"))

        publish(env, log, {"later": 0})
        assert until(told_again)
        assert "later" in read_until(log, env, "later")
        assert counted(env, "messages_lost") >= 1
        publish(env, log, {"last": 0})
        assert until(told_again)
        assert read_until(log, env, "last") == ["last"]


class Load:
    """A relay and a reader, each in a thread, until told to stop; what was read, and each try."""

    def __init__(self, log: KafkaLog, env: RealEnv) -> None:
        self.log, self.env = log, env
        self.seen: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self.over = threading.Event()

    def go_on(self, step: Callable[[], float]) -> None:
        """Take one step after the other; each says how long to rest."""
        while not self.over.is_set():
            self.tries[step.__name__] += 1
            try:
                rest = step()
            except LogDown:
                rest = 1
            self.over.wait(rest)

    def relay(self) -> float:
        """Publish what waits."""
        return 0.01 if self.log.relay(self.env) else 0.2

    def read(self) -> float:
        """Read what comes."""
        self.seen.update(read(self.log, self.env))
        return 0


LASTING = [
    3,
    pytest.param(60, marks=pytest.mark.skipif(not LONG, reason="a minute, with HUB_TEST_LONG=1")),
]


@pytest.mark.parametrize("seconds", LASTING)
@pytest.mark.timeout(300)
def test_brokers_may_go_away(seconds: int, own_kafka: Callable[..., Broker], env: RealEnv) -> None:
    """Killed and started under load: nothing is lost, in order, and nobody tries without a rest."""
    broker = own_kafka()
    told = settings(broker.address)
    log = KafkaLog(told, Path(), [TOPIC])
    log.start()
    load = Load(log, env)
    with ThreadPoolExecutor(2) as pool, closing(log):
        ends = [pool.submit(load.go_on, step) for step in (load.relay, load.read)]
        for n in range(200):
            publish(env, log, {f"k{n}": 0, "all": n})
            if n == 50:
                broker.kill()
                before = load.tries.copy()
                time.sleep(seconds)
                assert sum((load.tries - before).values()) <= 4 * seconds + 4
            if n == 60:
                broker.start()
        assert until(lambda: len(load.seen) == 201, 120)
        load.over.set()
        for end in ends:
            end.result()
    assert list(dict.fromkeys(published(told)["all"])) == list(range(200))


# -- the brokers ---------------------------------------------------------------------------------


def test_topics_are_made_as_the_settings_say(kafka: str) -> None:
    """Changes stay for a while, golden records for good, and one that differs is told."""
    told = settings(kafka, {"retention_hours": 2})
    names = [TOPIC, "dead.crm.contacts", "golden.person"]
    with closing(KafkaLog(told, Path(), names)) as log:
        log.start()
        assert log.differs == []
    changed = told.model_copy(update={"partitions": 6, "retention_hours": 3})
    with closing(KafkaLog(changed, Path(), names)) as log:
        log.start()
        kept = "partitions is 4, not 6, retention.ms is 7200000, not 10800000"
        assert log.differs == [
            f"topic {told.prefix}{TOPIC}: {kept}",
            f"topic {told.prefix}dead.crm.contacts: {kept}",
            f"topic {told.prefix}golden.person: partitions is 4, not 6",
        ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bootstrap": "127.0.0.1:1"}, "nobody listens there"),
        ({"bootstrap": "no.such.host.invalid:9092"}, "nobody listens there"),
        ({"security": "tls"}, "not as kafka.security says"),
        ({"replication": 3}, "kafka.replication is 3, more than there are brokers"),
        ({"prefix": "x" * 250}, "cannot be made"),
    ],
)
def test_what_is_wrong_is_said_within_ten_seconds(
    kafka: str, wrong: dict[str, object], said: str
) -> None:
    """One sentence tells what to change."""
    begun = time.monotonic()
    told = settings(kafka, wrong)
    with closing(KafkaLog(told, Path(), [TOPIC])) as log, pytest.raises(LogDown, match=said):
        log.start()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("sasl", ["PLAIN", "SCRAM-SHA-512"])
def test_brokers_that_ask_for_tls_and_a_password(
    sasl: str, own_kafka: Callable[..., Broker], env: RealEnv, tmp_path: Path
) -> None:
    """Both clients sign in; another password is refused in a sentence, as is another authority."""
    authority, server = certificates(tmp_path)
    broker = own_kafka(listeners={"SAFE": "SASL_SSL"}, settings=guarded(server, sasl))
    if sasl.startswith("SCRAM"):
        with admin(broker.address) as brokers:
            user = UserScramCredentialUpsertion("hub", ScramMechanism.SCRAM_SHA_512, "secret")
            brokers.alter_user_scram_credentials([user])
    safe = {"security": "sasl_tls", "sasl": sasl, "ca_file": authority.name, "credentials": "user"}
    told = settings(broker.at("SAFE"), safe)
    with signed_in(told, tmp_path, "secret") as log:
        log.start()
        publish(env, log, {"k": 0})
        assert log.relay(env) == 1
        assert read_until(log, env, "k") == ["k"]
    refused = pytest.raises(LogDown, match=r"refuse this user: check kafka\.credentials")
    with signed_in(told, tmp_path, "wrong") as log, refused:
        log.start()
    certificates(tmp_path)
    with signed_in(told, tmp_path, "secret") as log, pytest.raises(LogDown, match="TLS fails"):
        log.start()


def test_who_may_not_make_topics_is_told_what_to_grant(
    own_kafka: Callable[..., Broker], tmp_path: Path
) -> None:
    """A user without rights gets a sentence with what to grant."""
    authority, server = certificates(tmp_path)
    rights = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    broker = own_kafka(
        listeners={"SAFE": "SASL_SSL"}, settings={**guarded(server, "PLAIN"), **rights}
    )
    safe = {"security": "sasl_tls", "sasl": "PLAIN", "ca_file": authority.name}
    told = settings(broker.at("SAFE"), {**safe, "credentials": "user"})
    with signed_in(told, tmp_path, "secret") as log, pytest.raises(LogDown, match="grant CREATE"):
        log.start()


@contextmanager
def signed_in(told: Kafka, folder: Path, password: str) -> Iterator[KafkaLog]:
    """A log of somebody with this password."""
    file = folder / told.credentials
    file.touch(0o600)
    file.write_bytes(orjson.dumps({"username": "hub", "password": password}))
    with closing(KafkaLog(told, folder, [TOPIC])) as log:
        yield log


def guarded(server: Path, sasl: str) -> dict[str, str]:
    """A broker's settings for a listener with TLS and this way of signing in."""
    kind = "plain.PlainLoginModule" if sasl == "PLAIN" else "scram.ScramLoginModule"
    users = ' user_hub="secret"' if sasl == "PLAIN" else ""
    own = f"listener.name.safe.{sasl.lower()}.sasl.jaas.config"
    return {
        "listener.name.safe.ssl.keystore.type": "PEM",
        "listener.name.safe.ssl.keystore.location": str(server),
        "listener.name.safe.sasl.enabled.mechanisms": sasl,
        own: f"org.apache.kafka.common.security.{kind} required{users};",
    }
