"""The path of a change on Kafka and PostgreSQL, measured: `synchub bench path`.

Real parts on one machine. In the same run stand what a process can do that only carries messages:
consume, decode, encode, produce; once in a loop of its own, once in Quix Streams, which is put into
an environment beside ours. What counts is how figures of one run stand to each other.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import secrets
import subprocess
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, Producer
from kafka import KafkaAdminClient

from connectors._kit.simtool import PERSON, Profile
from hub import commands, resolve
from hub.env import Hub
from hub.io.codec import Codec, cdc_topic, golden_topic
from hub.io.kafka import KafkaLog
from hub.io.postgres import PostgresStore
from hub.io.rows import Rows, above
from hub.logs import be_quiet
from hub.settings import Kafka
from hub.tools import bench, latency
from hub.tools.bench import Outcome, Told
from hub.tools.latency import at_share
from hub.tools.world import RealClock, World
from hub.wiring import RealEnv

TOPIC = f"cdc.A.{PERSON}"
PARTITIONS = 4
SAMPLE_S = 0.02
NOOP = 20_000
CUSTOMERS, EDITS = 1_000, 1_000  # of the edits over four tools
QUIX = "quixstreams==3.28.0"
STEPS: Mapping[str, tuple[str, str]] = {
    **bench.STEPS,
    "wait for PostgreSQL": ("postgres.py", "_execute"),
    "commit": ("postgres.py", "_commit"),
    "wait for Kafka": ("kafka.py", "take"),
    "look again after the commit": ("resolve.py", "look_again"),
    "history": ("history.py", "write"),
}


@dataclass(frozen=True)
class Parts:
    """Where the real parts are. `registry` may be ""."""

    postgres: str
    kafka: str
    registry: str = ""


@contextmanager
def parts(given: Parts | None, told: Told) -> Iterator[Parts]:
    """Those that are given, or new ones of this machine. Raises `Wrong` where there are none."""
    if given is not None:
        yield given
        return
    try:
        from deploy.local import parts as local  # noqa: PLC0415  not there where only the hub is
    except ImportError:
        raise commands.Wrong(
            "name the parts with --postgres and --kafka; `make services` in the source tree starts "
            "some, and prints their addresses"
        ) from None
    with tempfile.TemporaryDirectory(prefix="synchub-parts-") as place, ExitStack() as stack:
        postgres = stack.enter_context(local.Postgres(Path(place) / "postgres"))
        kafka = stack.enter_context(local.Kafka(Path(place) / "kafka"))
        told("Kafka and PostgreSQL are up")
        yield Parts(postgres.address, kafka.address)


# -- a hub on the parts ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the hub of a run lies: a schema and a prefix of its own."""

    parts: Parts
    name: str

    @property
    def kafka(self) -> Kafka:
        """The settings of its log."""
        return Kafka(
            bootstrap=self.parts.kafka, prefix=f"{self.name}.", partitions=PARTITIONS, replication=1
        )

    def hub(self, *, first: bool = False) -> Hub:
        """A process's view of it: two simulated tools, and everything else real."""
        store = PostgresStore(self.parts.postgres, schema=self.name)
        world = World(
            {"A": Profile(), "B": Profile()},
            clock=RealClock(),
            opens=lambda: store,
            joins=not first,
        )
        topics = [cdc_topic(s.name, o) for s in world.hub.systems.values() for o in s.specs]
        log = KafkaLog(self.kafka, Path(), [*topics, golden_topic("person")])
        log.start()
        env = RealEnv(store, instead={"resolve": "relay"})
        return replace(world.hub, env=env, log=log, codec=Codec())

    def clear(self) -> None:
        """Nothing of it is left."""
        with psycopg.connect(self.parts.postgres, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {self.name} CASCADE".encode())
        admin = KafkaAdminClient(bootstrap_servers=self.parts.kafka)
        with suppress(Exception):
            admin.delete_topics([t for t in admin.list_topics() if t.startswith(f"{self.name}.")])
        admin.close()


def close(hub: Hub) -> None:
    """Let go of the parts."""
    hub.log.close()
    env: Any = hub.env
    env.store.close()


def pending(rows: Rows) -> int:
    """Inputs that wait."""
    return rows.count("input", {"status": "pending"})


# -- the work --------------------------------------------------------------------------------------


@contextmanager
def relaying(hub: Hub) -> Iterator[None]:
    """What is announced is published meanwhile, in a thread."""

    def work() -> None:
        if not hub.log.relay(hub.env):
            time.sleep(0.002)

    with meanwhile(work):
        yield


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do it again and again in a thread, until the block ends."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def resolve_until(hub: Hub, done: Callable[[], bool]) -> None:
    """Turns of the resolver."""
    while not done():
        resolve.turn(hub)


def one_process(hub: Hub, edits: int) -> float:
    """Inputs a second, from the outbox on: relayed, resolved, their deliveries planned."""
    began = time.monotonic()
    with relaying(hub):
        resolve_until(hub, lambda: hub.env.view(pending) == 0)
    return edits / (time.monotonic() - began)


def worker(place: Place, pipe: Connection) -> None:
    """A process that resolves until it is told to end, and says what it cost."""
    be_quiet()
    hub = place.hub()
    resolve.turn(hub)  # it takes part in the reading from here on
    pipe.send("ready")
    pipe.recv()
    began = time.process_time()
    resolve_until(hub, pipe.poll)
    pipe.send(time.process_time() - began)
    close(hub)


@contextmanager
def workers(place: Place, many: int) -> Iterator[list[Connection]]:
    """So many processes that resolve."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    made = []
    for _ in range(many):
        ours, theirs = context.Pipe()
        made.append(context.Process(target=worker, args=(place, theirs), daemon=True))
        made[-1].start()
        theirs.close()
        pipes.append(ours)
    try:
        for pipe in pipes:
            pipe.recv()
        yield pipes
    finally:
        for process in made:
            process.join(20)
            process.kill()


def two_processes(place: Place, hub: Hub, edits: int) -> dict[str, float]:
    """The same, by two processes; the relay is here. With it what they waited for."""
    samples: list[tuple[int, int]] = []
    hub.log.close()  # the partitions are for the two; the relay begins anew
    with workers(place, 2) as pipes, relaying(hub):
        began = time.monotonic()
        for pipe in pipes:
            pipe.send("go")
        while hub.env.view(pending):
            samples.append(waiting(place))
            time.sleep(SAMPLE_S)
        took = time.monotonic() - began
        for pipe in pipes:
            pipe.send("end")
        busy = [pipe.recv() / took for pipe in pipes]
    active = sum(n for n, _ in samples) or 1
    return {
        "resolved_by_two_per_s": edits / took,
        "two_busy_cores": sum(busy),
        "two_lock_wait_share": sum(locked for _, locked in samples) / active,
    }


def waiting(place: Place) -> tuple[int, int]:
    """How many of the hub's connections are at work, and how many of those wait for a lock."""
    query = (
        "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') FROM pg_stat_activity "
        "WHERE application_name = 'synchub' AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(place.parts.postgres, autocommit=True) as connection:
        found = connection.execute(query).fetchone() or (0, 0)
    return int(found[0]), int(found[1])


# -- what others can do ----------------------------------------------------------------------------


def events(place: Place) -> Iterator[bytes]:
    """Values of the topic, from the start."""
    consumer = Consumer(
        {
            "bootstrap.servers": place.parts.kafka,
            "group.id": secrets.token_hex(4),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([place.kafka.prefix + TOPIC])
    end = time.monotonic() + 30
    try:
        while time.monotonic() < end:
            for one in consumer.consume(1_000, 0.2):
                if not one.error() and (value := one.value()):
                    yield value
    finally:
        consumer.close()


def noop_loop(place: Place, many: int) -> float:
    """Messages a second that one process consumes, decodes, encodes and produces."""
    producer = Producer(
        {"bootstrap.servers": place.parts.kafka, "enable.idempotence": True, "linger.ms": 5}
    )
    codec, began, count = Codec(), 0.0, 0
    for value in events(place):
        began = began or time.monotonic()
        event = codec.decode("person_change", value)
        producer.produce(f"{place.name}.noop", codec.encode(TOPIC, "person_change", event))
        producer.poll(0)
        count += 1
        if count == many:
            break
    producer.flush(30)
    return count / (time.monotonic() - began) if count else 0.0


QUIX_LOOP = """
import json, sys, time
sys.path[:0] = [sys.argv[1]]
from io import BytesIO
import fastavro
from quixstreams import Application
given = json.loads(sys.argv[2])
schema = fastavro.parse_schema(given["schema"])
began, count = 0.0, 0
def again(value):
    global began, count
    began = began or time.monotonic()
    event = fastavro.schemaless_reader(BytesIO(value[given["skip"]:]), schema, None)
    out = BytesIO()
    fastavro.schemaless_writer(out, schema, event)
    count += 1
    if count == given["many"]:
        print("FIGURE", count / (time.monotonic() - began), flush=True)
        app.stop()
    return out.getvalue()
app = Application(broker_address=given["kafka"], consumer_group=given["group"],
                  auto_offset_reset="earliest", loglevel="ERROR", commit_interval=5,
                  use_changelog_topics=False)
raw = app.topic(given["topic"], value_deserializer="bytes")
into = app.topic(given["into"], value_serializer="bytes")
app.dataframe(raw).apply(again).to_topic(into)
app.run()
"""


def quix_loop(place: Place, many: int) -> tuple[float | None, str]:
    """The same in Quix Streams, or None and why it could not be had."""
    from hub.io.schemas import whole  # noqa: PLC0415

    given = {
        "schema": whole("person_change"),
        "skip": 9,
        "many": many,
        "kafka": place.parts.kafka,
        "group": f"{place.name}.quix",
        "topic": place.kafka.prefix + TOPIC,
        "into": f"{place.name}.quix",
    }
    with tempfile.TemporaryDirectory(prefix="synchub-quix-") as folder:
        try:
            environment = quix_environment(Path(folder))
            code = [environment, "-c", QUIX_LOOP, "", json.dumps(given)]
            said = subprocess.run(code, capture_output=True, text=True, timeout=180, check=False)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            return None, f"{QUIX} could not be had: {type(error).__name__}"
    found = [line.split()[1] for line in said.stdout.splitlines() if line.startswith("FIGURE")]
    return (float(found[0]), "") if found else (None, said.stderr.strip()[-300:])


def quix_environment(folder: Path) -> str:
    """The Python of an environment that has it; it does not go with our own versions."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", QUIX, "fastavro"]
    subprocess.run(install, check=True, timeout=300, capture_output=True)  # noqa: S603
    return python


# -- all of it -------------------------------------------------------------------------------------


def bench_path(
    records: int, edits: int, backlog: int, rate: float, given: Parts | None, told: Told
) -> Outcome:
    """Inputs a second by one process and by two, a backlog, and how long an edit takes.

    `records` stand in two simulated tools, linked by exact keys in pairs. The edits go over four
    sandboxes, as in `bench latency`, at `rate` a second.
    """
    be_quiet()
    with parts(given, told) as found, ExitStack() as stack:
        place = Place(found, f"bench_{secrets.token_hex(4)}")
        stack.callback(place.clear)
        hub = place.hub(first=True)
        stack.callback(close, hub)
        figures, shares = throughput(place, hub, Sizes(records, edits, backlog), told)
        figures["noop_loop_per_s"] = noop_loop(place, min(NOOP, edits))
        quix, why = quix_loop(place, min(NOOP, edits))
        figures |= {} if quix is None else {"quix_noop_per_s": quix}
        told("what carries messages only is measured; now edits over four tools")
        figures |= latencies(place, rate, told)
    return Outcome("path", figures, shares, {"quix": why} if why else {})


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    records: int
    edits: int
    backlog: int


def throughput(
    place: Place, hub: Hub, sizes: Sizes, told: Told
) -> tuple[dict[str, float], dict[str, float]]:
    """Figures, and the shares of the steps."""
    made = Made(hub)
    pairs = sizes.records // 2
    began = time.monotonic()
    bench.stand(made, pairs, told)
    loaded = sizes.records / (time.monotonic() - began)
    hub.env.commit(lambda rows: rows.delete("outbox", {}), "bench")
    figures = {"records": float(sizes.records), "edits": float(sizes.edits)}
    figures["first_readings_per_s"] = loaded
    bench.change(made, sizes.edits, pairs, 1)
    figures["resolved_per_s"] = one_process(hub, sizes.edits)
    dirty = hub.env.view(lambda rows: rows.count("slot", {"dirty": above(-1)}))
    figures["deliveries_planned"] = dirty
    told(f"one process: {figures['resolved_per_s']:.0f} a second")
    bench.change(made, sizes.edits, pairs, 2)
    figures |= two_processes(place, hub, sizes.edits)
    told(f"two processes: {figures['resolved_by_two_per_s']:.0f} a second")
    if sizes.backlog:
        bench.change(made, sizes.backlog, pairs, 3)
        figures["catch_up_per_s"] = one_process(hub, sizes.backlog)
        told(f"a backlog of {sizes.backlog}: {figures['catch_up_per_s']:.0f} a second")
    bench.change(made, max(sizes.edits // 10, 200), pairs, 4)
    return figures, profiled(hub)


class Made:
    """What `hub/tools/bench.py` wants of a world."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        env: Any = hub.env
        self.store = env.store
        self.clock = RealClock()
        self.tools = tuple(hub.systems)


def profiled(hub: Hub) -> dict[str, float]:
    """Where the time of turns goes, by step; the measuring itself makes it slower."""
    with relaying(hub):
        return bench.shares_of(lambda: resolve_until(hub, lambda: not hub.env.view(pending)), STEPS)


def latencies(place: Place, rate: float, told: Told) -> dict[str, float]:
    """How long an edit takes, and how long what is announced waits until somebody reads it."""
    name = f"{place.name}_up"
    up = Place(place.parts, name)
    seen: list[tuple[float, float]] = []
    with watching(up, seen):
        found = latency.bench_latency(CUSTOMERS, EDITS, rate, told, yaml_of(up))
    up.clear()
    since = max(at for at, _ in seen) - EDITS / rate * 1000  # before, the tools were read
    lags = [lag for at, lag in seen if at > since]
    wanted = {n: v for n, v in found.figures.items() if "_ms_" in n or n == "missing"}
    return wanted | {f"outbox_lag_ms_p{p}": at_share(lags, p) for p in (50, 99)}


def yaml_of(place: Place) -> str:
    """What is added to hub.yaml."""
    kafka = place.kafka
    lines = [
        "postgres:",
        f"  url: {place.parts.postgres}",
        f"  schema_name: {place.name}",
        "kafka:",
        f"  bootstrap: {kafka.bootstrap}",
        f"  prefix: {kafka.prefix}",
        f"  partitions: {kafka.partitions}",
        "  replication: 1",
        *(["registry:", f"  url: {place.parts.registry}"] if place.parts.registry else []),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def watching(place: Place, seen: list[tuple[float, float]]) -> Iterator[None]:
    """Of each message on the topics of changes: when it was announced, how much later it was read.

    Both in ms.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": place.parts.kafka,
            "group.id": secrets.token_hex(4),
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 1_000,
        }
    )
    consumer.subscribe([f"^{re.escape(place.kafka.prefix)}cdc\\..*"])

    def work() -> None:
        if (one := consumer.poll(0.2)) is not None and not one.error():
            at = float(one.timestamp()[1])
            seen.append((at, max(0.0, time.time() * 1000 - at)))

    with closing(consumer), meanwhile(work):
        yield
