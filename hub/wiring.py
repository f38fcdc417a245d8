"""The one place that builds the real world: files, clock, chance, HTTP, connectors.

Everything else is given an `Env` and a `Hub` and cannot tell this world from a simulated one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import httpx

from connectors._kit.contract import (
    Account,
    Connector,
    Connects,
    Declares,
    Limits,
    ObjectSpec,
    OwnApi,
)
from connectors._kit.source import Kinds, Misdeclared, Source
from hub import settings as files
from hub.env import DAY_MS, Hub, System, uuid7
from hub.inputs import link_fields
from hub.io import seal
from hub.io.anchor import Anchor
from hub.io.budget import SharedBudget
from hub.io.codec import Codec, cdc_topic, golden_topic
from hub.io.http import Budget, HttpApi
from hub.io.log import Log, LogDown, TableLog
from hub.io.rows import Conflict, Rows, Store
from hub.io.schemas import NoRegistry
from hub.io.state import Vault
from hub.io.store import SqlStore
from hub.process import alive
from hub.pure.decide import Context
from hub.pure.model import Uid
from hub.pure.rules import Tool
from hub.traps import Trapped, trapped

DATABASE = "hub.db"  # in the state folder
if TYPE_CHECKING:
    from hub.io.postgres import PostgresStore
    from hub.io.registry import Registered

T = TypeVar("T")


class Bell(Protocol):
    """What wakes loops of other processes."""

    def ring(self, loop: str, at: int) -> None:
        """Tell them; at this time (ms)."""


class Clock:
    """Milliseconds since 1970, never going back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """The time."""
        with self._lock:
            self._last = max(self._last, time.time_ns() // 1_000_000)
            return self._last


class Alarm:
    """What wakes a loop: the earliest time (ms) for which it was set since it last went off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due: int | None = None

    def set(self, at: int) -> None:
        """Go off at this time, or before."""
        with self._changed:
            self._due = at if self._due is None else min(self._due, at)
            self._changed.notify_all()

    def wait(self, until: int) -> None:
        """Sleep until it goes off, at `until` at the latest."""
        with self._changed:
            while (left := self._first(until) - self._clock.now()) > 0:
                self._changed.wait(left / 1000)
            self._due = None

    def _first(self, until: int) -> int:
        return until if self._due is None else min(self._due, until)


@dataclass
class RealEnv:
    """`Env` on this machine. `instead`: the loop that is woken in the place of another.

    `bell`: by what loops of other processes are woken; those that are `here` need none.
    """

    store: Store
    clock: Clock = field(default_factory=Clock)
    instead: Mapping[str, str] = field(default_factory=dict)
    bell: Bell | None = None
    here: Callable[[str], bool] = lambda _loop: True
    traps: Trapped | None = None
    _alarms: dict[str, Alarm] = field(default_factory=dict)

    def now(self) -> int:
        """See `Env`."""
        return self.clock.now()

    def uid(self) -> Uid:
        """See `Env`."""
        return uuid7(self.now(), os.urandom)

    def sleep(self, seconds: float) -> None:
        """See `Env`; whoever waits for a tool that wants to be left alone does not hang."""
        alive(seconds)
        time.sleep(seconds)

    def commit(self, work: Callable[[Rows], T], point: str) -> T:
        """See `Env`; in this world only tests have anybody die at a named point."""
        alive()
        return self.traps.transact(work, point) if self.traps else self.store.transact(work)

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Env`."""
        return self.store.view(work)

    def wake(self, loop: str, at: int = 0) -> None:
        """See `Env`."""
        name = self.instead.get(loop, loop)
        self.rung(name, at)
        if self.bell and not self.here(name):
            self.bell.ring(name, at)

    def rung(self, loop: str, at: int) -> None:
        """A loop of this process is told."""
        self._alarm(loop).set(at)

    def wait(self, loop: str, until_ms: int) -> None:
        """Sleep until this time, or until somebody wakes the loop."""
        self._alarm(loop).wait(until_ms)

    def _alarm(self, loop: str) -> Alarm:
        return self._alarms.setdefault(loop, Alarm(self.clock))


def connector(vendor: str) -> Connector:
    """The connector of a vendor, from its folder; raises LookupError naming the known ones."""
    known = sorted(
        p.parent.name for p in Path(__file__).parents[1].glob("connectors/*/connector.py")
    )
    if vendor not in known:
        message = f"there is no connector for {vendor!r}; there are: {', '.join(known)}"
        raise LookupError(message)
    found: Connector = import_module(f"connectors.{vendor}.connector").CONNECTOR
    return found


def shaped(name: str, one: files.SystemSettings, kinds: Kinds, folder: Path) -> Connector:
    """The connector of a system, with the objects that hub.yaml declares where it has none.

    Raises LookupError, or `BadSettings` that says where hub.yaml is wrong.
    """
    made = connector(one.vendor)
    try:
        source = one.source.beside(folder) if one.source else None
        return declared(made, source, kinds)
    except Misdeclared as error:
        place = ["systems", name, "source", *error.place]
        raise files.BadSettings(files.at(folder / "hub.yaml", place, str(error))) from None


def declared(made: Connector, source: Source | None, kinds: Kinds) -> Connector:
    """The connector with the objects of its source; raises `Misdeclared`."""
    if isinstance(made, Declares):
        if source is None:
            raise Misdeclared(f"is missing: connectors/{made.vendor}/README.md tells what it holds")
        return made.declared(source, kinds)
    if source is not None:
        raise Misdeclared(f"{made.title} has objects of its own, and takes no source")
    return made


def credentials(made: Connector, path: Path) -> dict[str, str]:
    """What a system signs in with; no file is needed where nothing is required."""
    optional = all(m.startswith("optional") for m in made.secret_names.values())
    return {} if optional and not path.exists() else files.read_secrets(path)


def client(
    made: Connector,
    base_url: str,
    secrets: Mapping[str, str],
    budget: Budget,
    transport: httpx.BaseTransport | None = None,
) -> HttpApi | OwnApi:
    """The way to one account. Raises `BadSettings` where the credentials cannot be right."""
    if why := unfit(made, secrets):
        raise files.BadSettings(why)
    try:
        if isinstance(made, Connects):
            return made.connect(secrets, budget.now)
        base = base_url or made.base_url(secrets)
    except ValueError as error:
        raise files.BadSettings(str(error)) from None
    return HttpApi(base, lambda: made.authorize(secrets), budget, transport, secrets)


def unfit(made: Connector, secrets: Mapping[str, str]) -> str:
    """What the credentials of a tool lack or hold that nobody knows, "" where they may be right."""
    names = made.secret_names
    lacks = [
        n for n, meaning in names.items() if meaning.startswith("required") if n not in secrets
    ]
    odd = [n for n in secrets if n not in names]
    if not lacks and not odd:
        return ""
    wrong = [f"{n} is missing" for n in lacks] + [f"{n} is not known" for n in odd]
    known = "".join(f"\n  {name}: {meaning}" for name, meaning in names.items())
    return f"credentials of {made.title}: {', '.join(wrong)}. They may hold:{known}"


Transports = Mapping[str, httpx.BaseTransport]


def build(
    hub_settings: files.HubSettings,
    rules: files.RulesSettings,
    version: int,
    store: Store,
    folder: Path,
    transports: Transports | None = None,
) -> Hub:
    """A hub on an open store. `transports` may lead systems into sandboxes."""
    # Where the log is apart, what was announced is for the relay; the resolver waits at the log.
    instead = {"resolve": "relay"} if hub_settings.kafka else {}
    env = RealEnv(store, instead=instead, traps=trapped(store))
    epochs = store.view(lambda rows: {r["name"]: r["epoch"] for r in rows.select("system")})
    systems = {
        name: replace(
            system(name, one, env, folder, files.kinds(rules), (transports or {}).get(name)),
            epoch=epochs.get(name, 0),
        )
        for name, one in hub_settings.systems.items()
    }
    tools = {(s.name, o): t for s in systems.values() for o, t in s.tools.items()}
    published = files.to_rules(rules, version, hub_settings.default_region)
    vault = open_vault(folder, store)
    anchor = Anchor(folder / hub_settings.anchor)
    codec = open_codec(hub_settings, systems.values(), folder, env.now)
    try:
        log = open_log(hub_settings, systems.values(), folder)
    except BaseException:
        codec.close()
        raise
    days, context = hub_settings.merged_days, Context(published, tools)
    return Hub(env, vault, log, codec, context, systems, anchor, points_on_ms=int(days * DAY_MS))


def open_log(hub_settings: files.HubSettings, systems: Iterable[System], folder: Path) -> Log:
    """The log in its home, with all its topics. Raises `BadSettings` where brokers refuse."""
    if hub_settings.kafka is None:
        return TableLog()
    places = [f"{s.name}.{o}" for s in systems for o in s.specs]
    goldens = {f"golden.{spec.entity}" for s in systems for spec in s.specs.values()}
    topics = {f"{kind}.{place}" for kind in ("cdc", "dead") for place in places} | goldens
    # Only where there is Kafka are its clients loaded: a seventh of a second, 14 MB.
    log: Log = import_module("hub.io.kafka").KafkaLog(hub_settings.kafka, folder, topics)
    try:
        log.start()
    except LogDown as error:
        raise files.BadSettings(str(error)) from error
    return log


def open_store(hub_settings: files.HubSettings, folder: Path) -> SqlStore | PostgresStore:
    """The store: in the state folder, or in PostgreSQL.

    Raises `Busy` when another process has the file, `BadSettings` where PostgreSQL cannot be used.
    """
    if (one := hub_settings.postgres) is None:
        return SqlStore(folder / hub_settings.state / DATABASE)
    # Only where there is PostgreSQL is its client loaded.
    postgres = import_module("hub.io.postgres")
    try:
        store: PostgresStore = postgres.PostgresStore(
            one.url,
            password=password_of(one, folder),
            schema=one.schema_name,
            connections=one.connections,
        )
    except postgres.Unusable as error:
        raise files.BadSettings(str(error)) from None
    return store


def hang_bell(store: Store, env: RealEnv) -> Callable[[], None]:
    """Let loops of other processes be woken, where there are such; returns what ends it.

    As long as nobody says which ones run here, all do elsewhere.
    """
    if isinstance(store, SqlStore):
        return lambda: None
    env.here = lambda _loop: False
    bell = import_module("hub.io.postgres").Bell(store, env.rung)
    bell.start()
    env.bell = bell
    end: Callable[[], None] = bell.close
    return end


def open_codec(
    hub_settings: files.HubSettings, systems: Iterable[System], folder: Path, now: Callable[[], int]
) -> Codec:
    """The way into bytes. Raises `BadSettings` where a registry cannot take the schemas."""
    registered = open_registry(hub_settings, folder, now)
    if registered is None:
        return Codec()
    codec = Codec(registered)
    try:
        register_topics(codec, systems)
    except files.BadSettings:
        codec.close()
        raise
    return codec


def open_registry(
    hub_settings: files.HubSettings, folder: Path, now: Callable[[], int]
) -> Registered | None:
    """The registry, of which nothing is asked yet. Raises `BadSettings`."""
    one, log = hub_settings.registry, hub_settings.kafka
    if one is None:
        return None
    registry = import_module("hub.io.registry")  # a tenth of a second, for those who have one
    login = files.read_login(folder / one.credentials) if one.credentials else None
    way = registry.way(one.url, str(folder / one.ca_file) if one.ca_file else "", login)
    try:
        made: Registered = registry.Registered(way, log.prefix if log else "", now)
    except OSError as error:
        raise files.BadSettings(f"registry.ca_file {one.ca_file}: {error}") from None
    return made


def register_topics(codec: Codec, systems: Iterable[System], seconds: float = 5) -> None:
    """Every topic that the hub writes has its schema; raises `BadSettings` within ten seconds.

    From here on nothing that is written needs the registry.
    """
    objects = [(s.name, o, spec.entity) for s in systems for o, spec in s.specs.items()]
    topics = {cdc_topic(system, obj): entity for system, obj, entity in objects}
    topics |= {golden_topic(entity): entity for _, _, entity in objects}
    end = time.monotonic() + seconds
    for topic, entity in topics.items():
        if time.monotonic() > end:
            raise files.BadSettings(f"registry: it took {seconds} s for a part of the topics only")
        try:
            codec.prepare(topic, f"{entity}_change")
        except NoRegistry as error:
            raise files.BadSettings(f"registry: {error}") from None


def look_at_parts(
    hub_settings: files.HubSettings, folder: Path, topics: Iterable[str]
) -> Iterator[str]:
    """What is wrong with each of the three parts, a sentence each; changes nothing."""
    for look in (look_at_store, look_at_log, look_at_registry):
        try:
            look(hub_settings, folder, topics)
        except (files.BadSettings, LogDown, NoRegistry) as error:
            yield str(error)


def look_at_store(hub_settings: files.HubSettings, folder: Path, _topics: Iterable[str]) -> None:
    """Raise `BadSettings` where PostgreSQL cannot be used."""
    if one := hub_settings.postgres:
        postgres = import_module("hub.io.postgres")
        try:
            postgres.look(one.url, password_of(one, folder), one.schema_name)
        except postgres.Unusable as error:
            raise files.BadSettings(str(error)) from None


def look_at_log(hub_settings: files.HubSettings, folder: Path, topics: Iterable[str]) -> None:
    """Raise `LogDown` where the brokers cannot be used."""
    if hub_settings.kafka:
        import_module("hub.io.kafka").KafkaLog(hub_settings.kafka, folder, topics).filled()


def look_at_registry(hub_settings: files.HubSettings, folder: Path, topics: Iterable[str]) -> None:
    """Raise `NoRegistry` where it takes no schemas of ours."""
    registered = open_registry(hub_settings, folder, Clock().now)
    if registered:
        with closing(registered):
            for topic in topics:
                registered.look(topic)


def password_of(one: files.Postgres, folder: Path) -> str:
    """What PostgreSQL is given, "" where its address or its files say it."""
    secrets = files.read_secrets(folder / one.credentials) if one.credentials else {}
    return secrets.get("password", "")


def open_vault(folder: Path, store: Store) -> Vault:
    """Seals under the master key; the pepper is made once. Raises `BadKeyFile` for another key."""
    place = folder / "secrets" / "master.key"
    master = seal.read_master(place)
    pepper = store.transact(lambda rows: once(rows, "pepper", os.urandom(32).hex()))
    sign = seal.sign_of(master)
    if store.transact(lambda rows: once(rows, "master key", sign)) != sign:
        raise seal.BadKeyFile(
            f"{place} is not the key that this store was sealed with: every process of a hub needs "
            "the same one"
        )
    return Vault(seal.Seal(master, os.urandom), bytes.fromhex(pepper))


def once(rows: Rows, name: str, value: str) -> str:
    """What was kept under this name first, be it this."""
    try:
        rows.insert("meta", {"name": name, "value": value})
    except Conflict:
        row = rows.get("meta", name=name)
        return str(row["value"]) if row else value
    return value


def system(
    name: str,
    one: files.SystemSettings,
    env: RealEnv,
    folder: Path,
    kinds: Kinds,
    transport: httpx.BaseTransport | None,
) -> System:
    """One tool with its client and abilities."""
    made = shaped(name, one, kinds, folder)
    secrets = credentials(made, folder / one.credentials)
    limits = made.limits
    if one.calls_per_second:
        limits = replace(limits, calls=max(1, int(one.calls_per_second * 10)), per_ms=10_000)
    api = client(made, one.base_url, secrets, budget(name, limits, env), transport)
    specs = {s.object: with_settings(s, one) for s in made.objects}
    tools = {o: tool(name, s, one) for o, s in specs.items()}
    return System(
        name,
        made,
        api,
        secrets,
        specs,
        tools,
        poll_ms=int(one.poll_seconds * 1000),
        close=api.close,
        sweep_ms=int(one.sweep_seconds * 1000),
        webhooks=one.webhooks,
    )


def budget(account: str, limits: Limits, env: RealEnv) -> Budget:
    """What an account allows: one for this process, or for all where several may share a store."""
    if isinstance(env.store, SqlStore):
        return Budget(limits, env.now, env.sleep)
    return SharedBudget(limits, env.now, env.sleep, account=account, by=env.uid(), store=env.store)


def with_settings(spec: ObjectSpec, one: files.SystemSettings) -> ObjectSpec:
    """The object with the lag and settle times that the company has seen."""
    lag = spec.lag_ms if one.lag_seconds is None else int(one.lag_seconds * 1000)
    settle = spec.settle_ms if one.settle_seconds is None else int(one.settle_seconds * 1000)
    return replace(spec, lag_ms=lag, settle_ms=settle)


def tool(name: str, spec: ObjectSpec, one: files.SystemSettings) -> Tool:
    """The core's view of one object."""
    return Tool(
        system=name,
        entity=spec.entity,
        object=spec.object,
        fields=spec.fields.by_name,
        revisions=spec.revisions,
        conditional=spec.conditional,
        lag_ms=spec.lag_ms,
        settle_ms=spec.settle_ms,
        unique=spec.unique,
        links=link_fields(spec),
        required=spec.required,
        create=one.create if spec.writes else "never",
        widens=one.consent == "evidence",
        writes=spec.writes,
    )


# -- the account is the one that was meant -------------------------------------------------------


def check_account(found: Account, one: files.SystemSettings, environment: str = "") -> str:
    """Why this account is not the one in hub.yaml, or is none for this environment, "" if it is."""
    if found.live and environment == "test":
        return "the account is live, and hub.yaml says environment: test"
    if found.id != one.account:
        return f"these credentials belong to account {found.id}, hub.yaml pins {one.account}"
    if found.id != "none" and found.live not in (None, one.mode == "live"):
        return f"the account is {'live' if found.live else 'test'}, hub.yaml says {one.mode}"
    return ""


def register(rows: Rows, hub_settings: files.HubSettings) -> None:
    """Every configured system has its row; writes are switched by hub.yaml."""
    for name, one in hub_settings.systems.items():
        row = rows.get("system", name=name)
        if row is None:
            rows.insert(
                "system",
                {
                    "name": name,
                    "vendor": one.vendor,
                    "account_id": one.account,
                    "live": one.mode == "live",
                    "epoch": 0,
                    "writes": one.writes,
                    "time_zone": one.time_zone,
                },
            )
        else:
            rows.update("system", {"name": name}, {"writes": one.writes})
