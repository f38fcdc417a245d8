"""The hub of several processes, struck at named points: nothing lost, nothing written twice."""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient

from deploy.local.parts import Kafka, Postgres, Registry
from deploy.local.parts import Part as LocalPart
from hub import commands, opening
from tests.end_to_end.cluster import ROLES, Cluster, Part, cluster
from tests.end_to_end.conftest import Site
from tests.end_to_end.struck import (
    HOMES,
    Balancer,
    Blow,
    Outcome,
    People,
    Watched,
    arrived,
    balanced,
    outcome,
    sound,
)

LONG = os.environ.get("HUB_TEST_LONG") == "1"
ROUNDS = 16 if LONG else 3
TAKEN_OVER_S = 15
DRAINED_S = 30
HANDED_OVER_S = 8  # no lease has to run out, and no member of a group to be missed
PATIENCE_S = 120
BLOWS = ("sent", "applied")
# Of each role, where it dies. Blows come from a tool that has a write; for the others see
# hub/traps.py. Those in `FRESH` lie on the way of a process that has just come. Between a commit
# and the move of a position lies no point: they are one transaction.
POINTS = {
    "capture": tuple(
        f"{when} {point}"
        for point in ("webhook", "capture:changes", "capture:hints")
        for when in ("before", "after")
    ),
    "resolve": (
        *(
            f"{when} resolve:{point}"
            for point in ("commit", "recheck", "claim")
            for when in ("before", "after")
        ),
        "after relay:begin",
        "before relay",
        "after relay",
    ),
    "deliver": (
        *BLOWS,
        *(
            f"{when} deliver:{point}"
            for point in ("settle", "create", "receipt")
            for when in ("before", "after")
        ),
    ),
    "sweep": ("before sweep:page", "after sweep:page", "before house", "after house"),
}  # fmt: skip
FRESH = ("before resolve:claim", "after resolve:claim", "after relay:begin")


@dataclass
class Stage:
    """A hub of several processes at rest, with people who work in its tools."""

    made: Cluster
    people: People
    balancer: Balancer
    blow: Blow
    reached: Counter[str] = field(default_factory=Counter)

    def check(self) -> None:
        """Every monitor."""
        sound(self.made, self.people, self.balancer.taken)

    def whole(self) -> None:
        """What was checked was there; history is whole, and what its own inputs make of it."""
        assert self.balancer.taken, "no webhook came through"
        done = self.made.site.call("verify", "--refold")
        assert done.returncode == 0, done.stdout + done.stderr

    # -- blows -------------------------------------------------------------------------------------

    def round(self, n: int, points: dict[str, str], how: str = "KILL") -> list[Part]:
        """Edits, while a process of each role is struck at its point and replaced; who was struck.

        Returns when all has arrived that was typed.
        """
        struck = victims = {r: self.doomed(r, point, how) for r, point in points.items()}
        self.people.round(n)
        commands.COMMANDS["sweep"](self.made.hub)
        end = time.monotonic() + PATIENCE_S
        while victims and time.monotonic() < end:
            fell = [role for role, part in victims.items() if part.fell(how)]
            victims = {role: part for role, part in victims.items() if role not in fell}
            for role in fell:
                assert self.sprung(struck[role], points[role]), struck[role].said[-1500:]
                self.reached[points[role]] += 1
                self.made.start(role)
            time.sleep(0.05)
        assert not victims, f"never came to {[points[r] for r in victims]}: {self.tails(victims)}"
        took = arrived(self.people, PATIENCE_S)
        told = f"{n}: {took:.1f} s after the last {how} {', '.join(points.values())}"
        sys.stdout.write(f"{told}\n")
        return list(struck.values())

    def doomed(self, role: str, point: str, how: str) -> Part:
        """A process that is struck at this point."""
        part = self.made.alive(role)[0]
        if point in FRESH:
            part.kill()
            return self.made.start(role, f"{how} {point}")
        if point in BLOWS:
            self.blow.when, self.blow.kill = point, part.kill
        else:
            part.set_trap(f"{how} {point}")
        return part

    def sprung(self, part: Part, point: str) -> bool:
        """Whether it was that which struck it."""
        return not (self.blow.when if point in BLOWS else part.trap.exists())

    def tails(self, victims: dict[str, Part]) -> list[str]:
        """What they said last."""
        return [part.said[-1500:] for part in victims.values()]


@contextmanager
def staged(site: Site, postgres: str, kafka: str, registry: str = "") -> Iterator[Stage]:
    """Processes of all roles are up, and everybody is in both tools."""
    port = site.folder.hub().public.port
    settings = site.folder.path / "hub.yaml"
    told = settings.read_text()
    assert "public:\n" in told
    settings.write_text(told.replace("public:\n", f"public:\n  url: http://127.0.0.1:{port}\n"))
    blow, people = struck(site), People(site)
    with ExitStack() as stack:
        made = stack.enter_context(cluster(site, postgres, kafka, registry=registry, partitions=4))
        balancer = Balancer(port, lambda: [p.public for p in made.alive("capture")[::-1]])
        stack.enter_context(balanced(balancer))
        people.begin()
        made.up()
        made.connect()
        arrived(people, PATIENCE_S)
        yield Stage(made, people, balancer, blow)


def struck(site: Site) -> Blow:
    """The one blow of all tools of a site."""
    blow = Blow()
    for one in site.served.values():
        assert isinstance(one, Watched)
        one.blow = blow
    return blow


@pytest.fixture
def stage(make_site: Callable[..., Site], postgres: str, kafka: str) -> Iterator[Stage]:
    """A hub of several processes."""
    with staged(make_site(0, Watched), postgres, kafka) as made:
        yield made


def undisturbed(site: Site, rounds: int) -> Outcome:
    """What an embedded hub, alone and in peace, makes of the same edits."""
    people = People(site)
    struck(site)
    people.begin()
    site.up()
    site.connect()
    arrived(people, PATIENCE_S)
    for n in range(rounds):
        people.round(n)
        arrived(people, PATIENCE_S)
    assert site.quiet()
    site.stop()
    with opening.opened(site.folder) as one:
        return outcome(site, one.hub)


@pytest.mark.timeout(3_000)
def test_killed_at_named_points(stage: Stage, make_site: Callable[..., Site]) -> None:
    """Every role dies at every point; what all comes to is what an embedded hub comes to."""
    seed = int(os.environ.get("HUB_TEST_SEED") or secrets.randbelow(1_000_000))
    sys.stdout.write(f"HUB_TEST_SEED={seed}\n")
    chance = random.Random(seed)
    decks = {role: deck(chance, points, ROUNDS) for role, points in POINTS.items()}
    for n in range(ROUNDS):
        stage.round(n, {role: cards[n] for role, cards in decks.items()})
        stage.check()
    wanted = Counter(point for cards in decks.values() for point in cards)
    assert stage.reached == wanted
    stage.whole()
    agrees(stage, make_site(0, Watched), ROUNDS)


def agrees(stage: Stage, other: Site, rounds: int) -> None:
    """It came to what an embedded hub comes to."""
    found = outcome(stage.made.site, stage.made.hub)
    wanted = undisturbed(other, rounds)
    assert sorted({*found.golden} ^ {*wanted.golden}) == []
    assert len(found.golden) == len(wanted.golden)
    assert found.tools == wanted.tools
    assert found.writes == wanted.writes


def deck(chance: random.Random, points: tuple[str, ...], size: int) -> list[str]:
    """So many points, each as often as the others, give or take one."""
    cards: list[str] = []
    while len(cards) < size:
        cards += chance.sample(points, len(points))
    return cards[:size]


# -- processes come and go -------------------------------------------------------------------------


# Here a process has read, or decided, or said what it is about to send, and is replaced meanwhile.
STILL = {
    "capture": "after capture:changes",
    "resolve": "before resolve:commit",
    "deliver": "after deliver:settle",
    "sweep": "before sweep:page",
}


@pytest.mark.timeout(600)
def test_processes_come_and_go(stage: Stage, make_site: Callable[..., Site]) -> None:
    """Killed, ended, joined by others, or standing still: nobody notices but by the clock."""
    made, people = stage.made, stage.people
    killed = [part for role in ROLES for part in made.alive(role)]
    made.up()
    for part in killed:
        part.kill()
    people.round(0)
    took = arrived(people, PATIENCE_S)
    assert took < TAKEN_OVER_S, f"dead processes were taken over after {took:.1f} s"
    stage.check()

    old = [part for role in ROLES for part in made.alive(role)]
    made.up()
    people.round(1)
    for part in old:
        begun = time.monotonic()
        assert part.stop(DRAINED_S) == 0, part.said
        sys.stdout.write(f"{part.role} has drained in {time.monotonic() - begun:.1f} s\n")
    took = arrived(people, PATIENCE_S)
    assert took < HANDED_OVER_S, f"what others gave up was taken over after {took:.1f} s"
    stage.check()

    paused = stage.round(2, STILL, "STOP")
    for part in paused:
        part.send(signal.SIGCONT)
    people.round(3)
    arrived(people, PATIENCE_S)
    stage.check()
    stage.whole()
    if LONG:
        agrees(stage, make_site(0, Watched), 4)


# -- parts go away ---------------------------------------------------------------------------------


@pytest.mark.timeout(900)
def test_parts_go_away(
    make_site: Callable[..., Site],
    own_postgres: Callable[..., Postgres],
    own_kafka: Callable[..., Kafka],
    own_registry: Callable[..., Registry],
) -> None:
    """Brokers, database and registry go and come back while people work on, and others end."""
    postgres, kafka, registry = own_postgres(), own_kafka(), own_registry()
    gone_s = 60 if LONG else 2

    def away(part: LocalPart, how: str) -> None:
        getattr(part, how)()
        time.sleep(gone_s)
        part.start()

    faults: dict[str, Callable[[Stage], None]] = {
        "brokers stopped": lambda _: away(kafka, "stop"),
        "server stopped": lambda _: away(postgres, "stop"),
        "backends terminated": lambda _: terminate(postgres.address),
        "registry gone": lambda _: registry.kill(),
        "strange messages": strangeness,
        "topics deleted": forgotten,
    }
    if LONG:  # else they are killed at the end only
        faults["brokers killed"] = lambda _: away(kafka, "kill")
        faults["server killed"] = lambda _: away(postgres, "kill")
    with staged(make_site(0, Watched), postgres.address, kafka.address, registry.address) as stage:
        for n, (name, fault) in enumerate(faults.items()):
            with ThreadPoolExecutor(1) as pool:
                done = pool.submit(fault, stage)
                stage.people.round(n)
                done.result()
            took = arrived(stage.people, PATIENCE_S)
            sys.stdout.write(f"{name}: {took:.1f} s\n")
            stage.check()
        assert all(part.runs for part in stage.made.parts)
        assert stage.made.view(lambda rows: rows.count("counter", {"name": "messages_set_aside"}))
        registry.start()
        ends_in_time(stage, kafka, postgres)
        stage.people.round(len(faults))
        arrived(stage.people, PATIENCE_S)
        stage.check()
        stage.whole()
        if LONG:
            agrees(stage, make_site(0, Watched), len(faults) + 1)


def ends_in_time(stage: Stage, *parts: LocalPart) -> None:
    """Whoever is told to end does, with nobody there to tell, and others go on when all is back."""
    ending = [part for role in ROLES for part in stage.made.alive(role)]
    for gone in parts:
        gone.kill()
        time.sleep(2)  # so that it is noticed
    begun = time.monotonic()
    for part in ending:
        part.send(signal.SIGTERM)
    for part in ending:
        assert part.process.wait(DRAINED_S) == 0, part.said
        sys.stdout.write(f"alone, {part.role} has ended in {time.monotonic() - begun:.1f} s\n")
    assert time.monotonic() - begun < DRAINED_S
    for back in parts:
        back.start()
    stage.made.up()


def terminate(address: str) -> None:
    """Whoever is connected is cut off, time after time."""
    with psycopg.connect(address, autocommit=True) as admin:
        for _ in range(20):
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(0.2)


def strangeness(stage: Stage) -> None:
    """Messages of an unknown schema, without sense, and under keys that are none."""
    log = stage.made.site.folder.hub().kafka
    assert log is not None
    producer = Producer({"bootstrap.servers": log.bootstrap})
    uid = uuid4().hex.encode()
    values = (b"\0" + (999_999).to_bytes(4) + b"x", b"\0\0\0", b"", None, bytes(range(256)))
    for topic in (f"cdc.{home}.{obj}" for home, obj in HOMES.items()):
        for key in (None, b"\xff\xfe", b"no uid", uid, str(uuid4()).encode()):
            for value in values:
                producer.produce(log.prefix + topic, value, key)
    assert producer.flush(20) == 0


def forgotten(stage: Stage) -> None:
    """The topics are deleted."""
    log = stage.made.site.folder.hub().kafka
    assert log is not None
    brokers = KafkaAdminClient(bootstrap_servers=log.bootstrap)
    try:
        brokers.delete_topics([f"{log.prefix}cdc.{home}.{obj}" for home, obj in HOMES.items()])
    finally:
        brokers.close()
