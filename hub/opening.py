"""A hub's folder: what `init` writes into it, and how a command gets at the hub behind it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import orjson
from pydantic import ValidationError

from connectors._kit.contract import Account, Connector, ConnectorError, OwnApi
from connectors._kit.source import Kinds, Source
from hub import commands, leases, listeners, members, republish, rulesets, runs, switches, wiring
from hub import settings as files
from hub.commands import Answer
from hub.env import Hub
from hub.io import anchor, moving, seal
from hub.io.codec import cdc_topic
from hub.io.http import Budget, HttpApi
from hub.io.rows import Conflict, Rows, Store
from hub.leases import Lease, Leased
from hub.status import still_reading

T = TypeVar("T")
HUB, RULES, MASTER, SOCKET = "hub.yaml", "rules.yaml", "secrets/master.key", "command.sock"
DATABASE = wiring.DATABASE
ASK_SECONDS = 0.5  # asking takes time from those who do the work
DUE = "restore due"  # in `meta` of a store that was put back, until it has begun anew


@dataclass(frozen=True)
class Folder:
    """Where hub.yaml lives; `file` is what it is called there."""

    path: Path
    file: str = HUB

    def hub(self) -> files.HubSettings:
        """The checked hub.yaml; raises `BadSettings`."""
        return files.load_hub(self.path / self.file)

    def rules(self) -> files.RulesSettings:
        """The checked rules.yaml; raises `BadSettings`."""
        return files.load_rules(self.path / RULES, self.hub().systems)

    def socket(self) -> Path:
        """The command socket of a hub that is up."""
        return self.path / self.hub().state / SOCKET


# -- init --------------------------------------------------------------------------------------


def init(
    folder: Folder, described: Mapping[str, Any], ports: tuple[int, int] = (8410, 8411)
) -> dict[str, Account]:
    """Contact each described system, then write settings, rules and credentials.

    Nothing is written before every system has answered. `ports`: for webhooks and for operators,
    or free ones. Raises `BadSettings`, or the connectors'
    own errors.
    """
    if (folder.path / HUB).exists():
        raise files.BadSettings(f"{folder.path / HUB} exists already; `synchub check` checks it")
    found = {name: contact(name, one) for name, one in described.items()}
    systems = {name: settings_of(name, described[name], account) for name, account in found.items()}
    port, private = (free_port(wanted) for wanted in ports)
    made = files.HubSettings(
        systems=systems, public=files.Public(port=port), private=files.Private(port=private)
    )
    folder.path.mkdir(parents=True, exist_ok=True)
    for name, one in described.items():
        files.write_secrets(folder.path / "secrets" / name, one["auth"])
    if not (folder.path / MASTER).exists():
        seal.make_master(folder.path / MASTER, os.urandom)
    (folder.path / HUB).write_text(files.render_hub(made))
    (folder.path / RULES).write_text(files.render_rules(files.default_rules(tuple(systems))))
    for name, one in described.items():
        tell_sandbox(name, one, f"http://127.0.0.1:{port}/webhooks/{name}")
    return found


def contact(name: str, one: Mapping[str, Any]) -> Account:
    """Whose account this is; reads only. Raises `BadSettings` that names the system."""
    told = files.SystemSettings(vendor=one.get("vendor", name), source=one.get("source"))
    made = wiring.shaped(name, told, files.kinds(files.default_rules(())), Path())
    try:
        with asking(made, one.get("base_url", ""), one["auth"]) as api:
            return made.account(api)
    except files.BadSettings as error:
        raise files.BadSettings(f"{name}: {error}") from None


@contextmanager
def asking(
    made: Connector, base_url: str, secrets: Mapping[str, str]
) -> Iterator[HttpApi | OwnApi]:
    """A client of its own, without a hub around it."""
    budget = Budget(made.limits, wiring.Clock().now, time.sleep)
    api = wiring.client(made, base_url, secrets, budget)
    try:
        yield api
    finally:
        api.close()


def settings_of(name: str, one: Mapping[str, Any], account: Account) -> files.SystemSettings:
    """What is known after the first contact; a tool on this machine is asked more often."""
    near = str(one.get("base_url", "")).startswith(("http://127.0.0.1", "http://localhost"))
    return files.SystemSettings(
        vendor=one.get("vendor", name),
        base_url=one.get("base_url", ""),
        account=account.id,
        mode="live" if account.live else "test",
        time_zone=account.time_zone,
        credentials=f"secrets/{name}",
        poll_seconds=2 if near else 30,
        calls_per_second=one.get("calls_per_second"),
        source=one.get("source"),
    )


def tell_sandbox(name: str, one: Mapping[str, Any], url: str) -> None:
    """A sandbox can be told where to send its webhooks; a real tool is set up by a person."""
    act = one.get("admin", {}).get("register_webhook")
    if act:
        httpx.request(
            act["method"],
            one["base_url"] + act["url"],
            trust_env=False,
            json={"url": url, "secret": "", "events": []},
        ).raise_for_status()
    del name


def free_port(wanted: int) -> int:
    """A free port: this one where it can be had."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted


# -- a hub to work with ------------------------------------------------------------------------


@dataclass
class Opened:
    """A hub in this process."""

    hub: Hub
    store: Store
    settings: files.HubSettings
    differs: bool


@contextmanager
def opened(folder: Folder, *, anchored: bool = True, anyway: bool = False) -> Iterator[Opened]:
    """Open the store and wire a hub on it. Raises `Busy`, `BadSettings`.

    `anchored`: the anchor's file is here; one process of a hub has it. `anyway`: also a store that
    is not to be used as it is.
    """
    found, on_disk = folder.hub(), folder.rules()
    store = wiring.open_store(found, folder.path)
    try:
        if not anyway:
            store.view(refuse_unready)
        who, now = os.environ.get("USER", "init"), wiring.Clock().now()
        version, rules = first(store, lambda rows: in_force(rows, on_disk, who, now))
        first(store, lambda rows: wiring.register(rows, found))
        hub = wiring.build(found, rules, version, store, folder.path)
        hub.anchor = hub.anchor if anchored else None
        unhang = wiring.hang_bell(store, cast("wiring.RealEnv", hub.env))
        try:
            put_in_force(hub)
            yield Opened(hub, store, found, rules != on_disk)
        finally:
            unhang()
            hub.codec.close()
            hub.log.close()
            for system in hub.systems.values():
                system.close()
    finally:
        store.close()


def refuse_unready(rows: Rows) -> None:
    """Raise `BadSettings` where the hub was moved elsewhere, or put back and not begun anew.

    Two hubs must not write into the same tools, and none that knows less than they do.
    """
    if rows.get("meta", name=DUE):
        raise files.BadSettings(
            "this store was put back, and does not know what has happened since: `synchub restore` "
            "begins anew with it"
        )
    if row := rows.get("meta", name=moving.MARK):
        mark = orjson.loads(row["value"])
        raise files.BadSettings(
            f"this hub has moved to {mark['to']} and is not used any more; if it was not, `synchub "
            f"migrate --to {mark['to']}` ends the move, `synchub migrate --undo` takes it back"
        )


def bring_store(folder: Folder) -> Answer:
    """Bring the tables of the store to this version: from which revision to which.

    Raises `Busy`, `BadSettings`, `NewerDatabase`.
    """
    with closing(wiring.open_store(folder.hub(), folder.path)) as store:
        return store.migrated._asdict()


def first(store: Store, work: Callable[[Rows], T]) -> T:
    """What the first process of a hub lays; where another is as fast, what that one has laid."""
    try:
        return store.transact(work)
    except Conflict:
        return store.transact(work)


def put_in_force(hub: Hub) -> None:
    """Fold everything under the published rules, if it was not; one process does, others wait."""
    owner, lease = hub.env.uid(), None
    while hub.env.view(lambda rows: republish.due(rows, hub)):
        lease = hub.env.commit(lambda rows: rules_lease(rows, hub, owner), "rules")
        if lease:
            republish.republish(replace(hub, env=Leased(hub.env, lease)), "published")
            anchor.keep(hub)
        else:
            hub.env.sleep(1)
    if lease:
        hub.env.commit(lambda rows: leases.release(rows, lease), "rules")


def rules_lease(rows: Rows, hub: Hub, owner: str) -> Lease | None:
    """The right to put rules in force; nobody has to fear for it who has the store for himself."""
    return leases.take(rows, "rules", owner, hub.env.now(), at_once=rows.alone)


def in_force(
    rows: Rows, on_disk: files.RulesSettings, who: str, now: int
) -> tuple[int, files.RulesSettings]:
    """The last published rules; at the very first start that are those on disk."""
    version, rules = rulesets.published(rows)
    return (version, rules) if rules else (rulesets.publish(rows, on_disk, who, now), on_disk)


def hub_is_up(folder: Folder) -> bool:
    """Whether a hub takes commands; the socket of one that was killed is cleared away."""
    path = folder.socket()
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return False
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return False
    return True


def nobody(_text: str) -> None:
    """Hears of progress."""


def ask(
    folder: Folder, name: str, told: Callable[[str], None] = nobody, **arguments: Any
) -> Answer:
    """Put a command to the hub that is up, or to one that is opened for it.

    `told` is called while that one reads, before it plans, what the tools have changed. Raises
    `Wrong`, `BadSettings`, `Busy`, and OSError when a hub that is up does not answer.
    """
    with asking_hub(folder) as put:
        return put(name, told, **arguments)


@contextmanager
def asking_hub(folder: Folder) -> Iterator[Callable[..., Answer]]:
    """What puts commands (see `ask`) to one hub, one after the other."""
    if hub_is_up(folder):

        def put(name: str, told: Callable[[str], None] = nobody, **arguments: Any) -> Answer:
            del told
            return listeners.ask_running(folder.socket(), name, arguments)

        yield put
    else:
        with opened(folder) as one:
            yield partial(put_to, one.hub)


def put_to(hub: Hub, name: str, told: Callable[[str], None] = nobody, **arguments: Any) -> Answer:
    """Put a command to a hub of which this process runs nothing."""
    reading = name in ("plan", "what-if") and not arguments.get("run")
    if reading:
        (await_readers if shared(hub) else read_up)(hub, told)
    return commands.COMMANDS[name](hub, **arguments)


def await_readers(hub: Hub, told: Callable[[str], None]) -> None:
    """Where other processes read the tools for the first time, or once more, let them finish."""
    while left := hub.env.view(lambda rows: unread(rows, hub)):
        told(f"to be read yet: {', '.join(left)}")
        hub.env.sleep(ASK_SECONDS)


def unread(rows: Rows, hub: Hub) -> list[str]:
    """What those who are up have not read yet; nothing where nobody is up who would."""
    up = members.roles(rows, hub.env.now())
    if "up" not in up and not {"capture", "sweep"} <= up.keys():
        return []
    found = [f"{name} {obj}" for name in hub.systems for obj in still_reading(rows, hub, name)]
    first = switches.read(rows, "applied") is None
    pending = rows.count("input", {"status": "pending"}) if first and not found else 0
    return found or ([f"{pending} readings"] if pending else [])


def shared(hub: Hub) -> bool:
    """Whether processes of this hub are up, beside this one."""
    return bool(hub.env.view(lambda rows: members.present(rows, hub.env.now())))


def others_are_up(folder: Folder) -> bool:
    """Whether a hub that several processes share has some that are up."""
    if folder.hub().postgres is None:
        return False
    with opened(folder) as one:
        return shared(one.hub)


def read_up(hub: Hub, told: Callable[[str], None]) -> None:
    """Read what the tools have changed, where no loops do it; raises the connectors' errors."""
    try:
        runs.catch_up(hub, told)
    finally:
        anchor.keep(hub)  # what was resolved until here is history already


@dataclass
class Checked:
    """What `check` found, as lines: what would stop the start, and what a tool lacks for writes."""

    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def check(folder: Folder) -> Checked:
    """Ask every system whose account it is and what it lacks, and look at the parts; reads only."""
    found, checked = folder.hub(), Checked()
    kinds = files.kinds(folder.rules())
    seal.read_master(folder.path / MASTER)
    topics = topics_of(folder, found, kinds)
    checked.wrong += wiring.look_at_parts(found, folder.path, topics)
    for name, one in found.systems.items():
        try:
            why, missing = check_system(folder, name, one, kinds, found.environment)
        except (LookupError, ValueError, ConnectorError) as error:
            why, missing = str(error), ()
        checked.wrong += [f"{name}: {why}"] if why else []
        checked.missing += [f"{name}: {flaw}" for flaw in missing]
    return checked


def topics_of(folder: Folder, found: files.HubSettings, kinds: Kinds) -> list[str]:
    """The topics of all objects; of a system that cannot be used, none."""
    topics = []
    for name, one in found.systems.items():
        with suppress(LookupError, ValueError):
            made = wiring.shaped(name, one, kinds, folder.path)
            topics += [cdc_topic(name, spec.object) for spec in made.objects]
    return topics


def check_system(
    folder: Folder, name: str, one: files.SystemSettings, kinds: Kinds, environment: str
) -> tuple[str, tuple[str, ...]]:
    """Why a system cannot be used, "" where it can, and what it lacks for writes."""
    made = wiring.shaped(name, one, kinds, folder.path)
    secrets = wiring.credentials(made, folder.path / one.credentials)
    with asking(made, one.base_url, secrets) as api:
        why = wiring.check_account(made.account(api), one, environment)
        return why, () if why or not (one.writes or one.source) else made.check(api)


def read_description(path: Path) -> dict[str, Any]:
    """The file of `synchub sandbox --describe`, or one written by hand; raises `BadSettings`."""
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise files.BadSettings(
            f"{path} does not exist; `synchub sandbox --describe {path}` writes one"
        ) from None
    except orjson.JSONDecodeError as error:
        raise files.BadSettings(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or not found:
        raise files.BadSettings(f"{path}: expected one object, systems by name")
    for name, one in found.items():
        if why := ill_described(name, one):
            raise files.BadSettings(f"{path}: {name}: {why}")
    return found


def ill_described(name: str, one: object) -> str:
    """Why this describes no system, "" where it does."""
    if not files.NAME.fullmatch(name):
        return f"{name!r} is no name: {files.NAMES}"
    auth = one.get("auth") if isinstance(one, dict) else None
    if not isinstance(auth, dict) or not all(isinstance(v, str) for v in auth.values()):
        return 'expected {"auth": {…}}, names and texts; "vendor" where that is not the name'
    if isinstance(one, dict) and (wrong := ill_declared(one.get("source"))):
        return wrong
    texts = (one.get(key, "") for key in ("vendor", "base_url")) if isinstance(one, dict) else ()
    return "" if all(isinstance(t, str) for t in texts) else "vendor and base_url are texts"


def ill_declared(source: object) -> str:
    """Why this declares no tables, "" where it does, or where there is nothing."""
    try:
        if source is not None:
            Source.model_validate(source)
    except ValidationError as error:
        first = error.errors()[0]
        return f"source.{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""
