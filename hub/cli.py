"""The `synchub` command.

A command that asks or tells a hub something works while one is up (over its command socket) and
while none is (it opens the store itself); `--json` gives what a program wants, and `export` is JSON
lines already. `EXITS` says what the exit codes mean. How answers look is in `hub/shown.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from connectors._kit.contract import ConnectorError
from hub import __version__, logs, move, opening, shown
from hub import restore as restoring
from hub.commands import Answer, Wrong, check_kinds
from hub.io.log import LogDown
from hub.io.migrate import NewerDatabase
from hub.io.moving import NotWhole
from hub.io.rows import Refused, StoreFull
from hub.io.seal import BadKeyFile
from hub.io.store import Busy
from hub.opening import ASK_SECONDS, Folder
from hub.settings import BadSettings
from hub.shown import Piece, Tell
from hub.whatif import KINDS

FOUND, WRONG_USE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
EXITS = (
    "Exit codes: 0 done; 1 something is wrong with what was found; 2 wrong use or settings, the "
    "text says what would be right; 3 the hub, its store or a tool could not be reached; 130 "
    "interrupted, the text says what state things are in."
)
app = typer.Typer(
    name="synchub",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep the same customer the same in every tool. Start with `synchub demo`, or with "
    "`synchub sandbox` and `synchub init`.",
    epilog=EXITS,
)
Where = Annotated[Path, typer.Option("--dir", help="the folder of hub.yaml")]
AsJson = Annotated[
    bool, typer.Option("--json", help="print JSON for programs; times in ms since 1970, UTC")
]
PublicPort = Annotated[
    int | None,
    typer.Option("--public", min=0, max=65535, help="port for webhooks, instead of hub.yaml's"),
]
PrivatePort = Annotated[
    int | None,
    typer.Option("--private", min=0, max=65535, help="port for operators, instead of hub.yaml's"),
]
HERE = Path()
FAIL_ON = "clears,merges,deletes"


class LogLevel(StrEnum):
    """What is logged, beside what is worse."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@contextmanager
def told(interrupted: str = "interrupted") -> Iterator[None]:
    """Errors that a person can do something about, as one text and an exit code."""
    try:
        yield
    except (KeyError, IndexError):
        raise  # these are ours, not the person's
    except (Wrong, Refused, BadSettings, BadKeyFile, NewerDatabase, LookupError) as error:
        fail(str(error), WRONG_USE)
    except (Busy, ConnectorError, LogDown, NotWhole, StoreFull) as error:
        fail(str(error), UNREACHABLE)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), UNREACHABLE)
    except KeyboardInterrupt:
        fail(interrupted, INTERRUPTED)


def fail(text: str, code: int) -> None:
    """Say why on stderr and exit."""
    typer.echo("synchub: " + "\n".join(map(shown.visible, text.splitlines())), err=True)
    raise typer.Exit(code)


def show(answer: Any, lines: Iterable[Piece], *, as_json: bool) -> None:
    """An answer as JSON, or as lines for a person."""
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return
    for line in shown.printed(lines):
        typer.echo(line)


@app.callback(invoke_without_command=True)
def main_options(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,  # noqa: FBT002
    log_level: Annotated[
        LogLevel,
        typer.Option(envvar="SYNCHUB_LOG_LEVEL", help="debug tells every change, by its trace"),
    ] = LogLevel.INFO,
) -> None:
    """Options of the command itself."""
    logs.configure(getattr(logging, log_level.name))
    if version:
        typer.echo(__version__)
        raise typer.Exit


# -- setting up --------------------------------------------------------------------------------


@app.command()
def sandbox(
    describe: Annotated[
        Path, typer.Option(help="write addresses, credentials and admin acts to this file")
    ] = Path("sandboxes.json"),
    systems: Annotated[
        str, typer.Option(help="which, separated by commas")
    ] = "hubspot,stripe,mailchimp,zendesk",
    seed: Annotated[int, typer.Option(help="another seed, other customers")] = 1,
    customers: Annotated[int, typer.Option(min=0, help="how many customers there are")] = 500,
    port: Annotated[int, typer.Option(help="the first port; 0 takes free ones")] = 0,
    host: Annotated[
        str, typer.Option(help="this machine's name or address; one off loopback lets others in")
    ] = "127.0.0.1",
) -> None:
    """Serve sandboxed tools over HTTP on this machine, until Ctrl-C.

    Each behaves as its vendor's API does: paging, errors, webhooks, and of limits those of HubSpot
    and Zendesk; Stripe and Mailchimp limit calls only after /_sandbox/throttle. They share one
    population of messy customers and keep it in memory: another start begins anew. While they are
    up, connect a hub to them in another terminal:

        synchub init --from sandboxes.json

    What a person does in a tool is done at its address, under /_sandbox/act; the description
    lists this and every other act under `admin`.
    """
    from connectors._kit import serve

    with told():
        served = serve.start(
            [s.strip() for s in systems.split(",") if s.strip()], seed, customers, port, host
        )
        serve.describe(served, describe)
    for name, one in served.items():
        typer.echo(f"{name}: {one.base_url}")
    typer.echo(f"described in {describe}; Ctrl-C ends it")
    wait_for_signal()
    for one in served.values():
        one.stop()


@app.command()
def init(
    source: Annotated[
        Path,
        typer.Option("--from", help="a description of the systems, as `synchub sandbox` writes it"),
    ],
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Contact each system, then write hub.yaml, rules.yaml and secrets/."""
    with told():
        found = opening.init(Folder(directory), opening.read_description(source))
    answer = {"systems": {name: asdict(account) for name, account in found.items()}}
    show(answer, shown.init_lines(answer, directory / "hub.yaml"), as_json=as_json)


@app.command()
def check(
    directory: Where = HERE,
    publish: Annotated[  # noqa: FBT002
        bool, typer.Option("--publish", help="make rules.yaml the rules from the next start on")
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Check settings, rules, credentials and accounts; with --publish, publish the rules.

    What is missing in a tool (a property, a field) is told too; it stops nothing.
    """
    folder = Folder(directory)
    published: dict[str, Any] = {}
    with told():
        found = opening.check(folder)
        if publish and not found.wrong:
            rules = folder.rules().model_dump(mode="json")
            published = opening.ask(folder, "publish", rules=rules)
    answer = {**asdict(found), **published}
    show(answer, shown.check_lines(answer), as_json=as_json)
    if found.wrong:
        raise typer.Exit(FOUND)


@app.command("migrate-store")
def migrate_store(directory: Where = HERE, as_json: AsJson = False) -> None:  # noqa: FBT002
    """Bring the database to the tables of this version, and exit.

    Every start does the same; this is for those who want it done before the first new process.
    """
    with told():
        answer = opening.bring_store(Folder(directory))
    show(answer, [shown.migrated_line(answer)], as_json=as_json)


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="the file to write")],
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Copy the database of a hub in a file, also while it is up.

    secrets/, hub.yaml and rules.yaml are copied by other means: without secrets/master.key nobody
    can read the copy. A hub on PostgreSQL is copied by pg_dump.
    """
    with told("interrupted: there is no copy"):
        answer = restoring.backup(Folder(directory), to)
    show(answer, [f"{answer['file']}: {answer['bytes']} bytes"], as_json=as_json)


@app.command()
def restore(
    copy: Annotated[Path | None, typer.Argument(help="what `synchub backup` has written")] = None,
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Put a copy back and begin anew: everything is read again, nothing written before a plan.

    Stop the hub first. Without a file: the store was put back by other means, as by pg_restore.
    """
    with told():
        who = os.environ.get("USER", "operator")
        answer = restoring.restore(Folder(directory), copy, who)
    show(answer, shown.restore_lines(answer), as_json=as_json)


@app.command()
def migrate(
    to: Annotated[
        Path | None, typer.Option("--to", help="hub.yaml of the hub on Kafka and PostgreSQL")
    ] = None,
    undo: Annotated[  # noqa: FBT002
        bool, typer.Option("--undo", help="let this hub be used again, in place of the other")
    ] = False,
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Move this hub, which is in a file, to Kafka and PostgreSQL, with all that it knows.

    Stop it first. Everything arrives, or nothing: broken off, the move is begun again. Afterwards
    this hub refuses to start; its file stays as it is.
    """
    folder = Folder(directory)
    broken_off = "interrupted: nothing has arrived there; the same command begins the move again"
    with told(broken_off), shown.telling() as tell:
        if undo == bool(to):
            raise Wrong("say where to, --to FILE, or take a move back, --undo")
        answer = move.undo(folder) if to is None else move.move(folder, to, tell)
    show(answer, shown.move_lines(answer), as_json=as_json)


# -- running -----------------------------------------------------------------------------------


@app.command()
def up(directory: Where = HERE, public: PublicPort = None, private: PrivatePort = None) -> None:
    """Run the hub until Ctrl-C or SIGTERM: capture, resolve, deliver and sweep, all in one."""
    stay_up(directory, "", public, private)


@app.command()
def capture(
    directory: Where = HERE, public: PublicPort = None, private: PrivatePort = None
) -> None:
    """Run only what reads the tools and takes their webhooks; as many processes as wanted."""
    stay_up(directory, "capture", public, private)


@app.command()
def resolve(directory: Where = HERE, private: PrivatePort = None) -> None:
    """Run only what resolves changes and publishes topics; as many processes as wanted."""
    stay_up(directory, "resolve", None, private)


@app.command()
def deliver(directory: Where = HERE, private: PrivatePort = None) -> None:
    """Run only what writes into the tools; as many processes as wanted."""
    stay_up(directory, "deliver", None, private)


@app.command()
def console(directory: Where = HERE, private: PrivatePort = None) -> None:
    """Run only the operators' console; as many processes as wanted."""
    stay_up(directory, "console", None, private)


def stay_up(directory: Path, role: str, public: int | None, private: int | None) -> None:
    """Run what belongs to a role until a signal, or until it has ended by itself."""
    from hub.running import running

    with told(), running(Folder(directory), role, public, private) as one:
        for line in shown.up_lines(one.opened.hub.listening):
            typer.echo(line)
        if not one.applied():
            typer.echo("nothing is written before a plan was applied: synchub plan")
        wait_for_signal(lambda: one.loops.ended)
        typer.echo(one.loops.ended or "stopping: every step in progress is finished first")
    if one.loops.ended:
        raise typer.Exit(UNREACHABLE)


def wait_for_signal(ended: Callable[[], object] = bool) -> None:
    """Return on SIGINT or SIGTERM, or when there is nothing to wait for."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not (stop.wait(1) or ended()):
        pass


@app.command()
def plan(  # noqa: PLR0917  options, given by name
    run: Annotated[str, typer.Argument(help="show this run again")] = "",
    system: Annotated[str, typer.Option(help="show only the rows of this system")] = "",
    everything: Annotated[bool, typer.Option("--all", help="show every row")] = False,  # noqa: FBT002
    ci: Annotated[  # noqa: FBT002
        bool, typer.Option("--ci", help="a verdict on hub.yaml and rules.yaml as they are on disk")
    ] = False,
    fail_on: Annotated[
        str, typer.Option(help=f"with --ci: which of {', '.join(KINDS)}  [default: {FAIL_ON}]")
    ] = "",
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Show row by row what would be written where and why; writes nothing.

    With --ci a pipeline is told whether the files may be published: counts by system, the rows
    that fail, exit code 0 or 1. Nothing is stored that could be applied, and no values are shown.
    """
    folder = Folder(directory)
    if ci or fail_on:
        judged(folder, fail_on, alone=ci and not (run or system or everything), as_json=as_json)
        return
    with (
        told("interrupted: nothing was written; what was read is kept for the next plan"),
        shown.telling() as tell,
    ):
        if system and system not in (known := folder.hub().systems):
            raise Wrong(f"there is no system {system!r}; there are: {', '.join(known)}")
        if not run:
            wait_until_read(folder, tell)
        answer = opening.ask(folder, "plan", tell, run=run)
    show(answer, shown.plan_lines(answer, system, everything=everything), as_json=as_json)


def judged(folder: Folder, fail_on: str, *, alone: bool, as_json: bool) -> None:
    """Tell a pipeline its verdict; exits with 1 where it fails."""
    kinds = list(filter(None, (kind.strip() for kind in (fail_on or FAIL_ON).split(","))))
    with told("interrupted: nothing was written"), shown.telling() as tell:
        if not alone:
            raise Wrong(
                "--fail-on belongs to --ci, which takes no run, --system or --all beside it"
            )
        check_kinds(kinds)
        rules = folder.rules().model_dump(mode="json")
        running = opening.hub_is_up(folder)
        wait_until_read(folder, tell)
        answer = opening.ask(folder, "what-if", tell, rules=rules, fail_on=kinds)
    answer["hub_yaml"] = "of the hub that is up" if running else "on disk"
    show(answer, shown.verdict_lines(answer), as_json=as_json)
    if answer["verdict"] != "pass":
        raise typer.Exit(FOUND)


def wait_until_read(folder: Folder, tell: Tell) -> None:
    """Where a hub is up that reads the tools for the first time, let it finish."""
    while opening.hub_is_up(folder):
        found = opening.ask(folder, "status")
        unread = [shown.reading_line(n, s) for n, s in found["systems"].items()]
        if not any(unread) and (found["applied"] or not found["pending_inputs"]):
            return
        tell("; ".join(filter(None, unread)) or f"{found['pending_inputs']} readings to resolve")
        time.sleep(ASK_SECONDS)


@app.command()
def apply(
    run: Annotated[str, typer.Argument(help="the id that `synchub plan` printed")],
    anyway: Annotated[bool, typer.Option("--anyway", help="also beside a run under way")] = False,  # noqa: FBT002
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Write the rows of a plan that are still as they were shown; later changes then flow."""
    folder = Folder(directory)

    def work(tell: Tell, ask: Ask) -> Answer:
        counted = ask("apply", run=run, anyway=anyway)
        return {**counted, **follow_run(ask, run, tell)}

    with told(
        "interrupted: rows that are not written yet stay released, and a hub that is up writes "
        f"them; `synchub plan {run}` shows how far it is, `synchub stop-writes` stops it"
    ):
        answer = with_hub_up(folder, work)
    show(answer, shown.apply_lines(answer), as_json=as_json)


Ask = Callable[..., Answer]


def with_hub_up(folder: Folder, work: Callable[[Tell, Ask], Answer]) -> Answer:
    """Work with the hub that is up, or with one that is up until the work is done."""
    from hub.running import running

    with ExitStack() as stack:
        tell = stack.enter_context(shown.telling())
        if not (opening.hub_is_up(folder) or opening.others_are_up(folder)):
            stack.enter_context(running(folder))
        return work(tell, stack.enter_context(opening.asking_hub(folder)))


def follow_run(ask: Ask, run: str, tell: Tell) -> Answer:
    """Wait until an applied run is through, telling how far it is."""
    while (found := ask("progress", run=run))["open"]:
        tell(shown.progress_line(found))
        time.sleep(ASK_SECONDS)
    return found


@app.command("stop-writes")
def stop_writes(
    directory: Where = HERE,
    release: Annotated[bool, typer.Option("--release", help="let writes flow again")] = False,  # noqa: FBT002
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """The one switch: no write leaves the hub until it is released."""
    with told():
        answer = opening.ask(Folder(directory), "stop-writes", on=not release)
    stopped = answer["writes_stopped"]
    line = "no write leaves the hub now" if stopped else "writes flow again"
    show(answer, [line], as_json=as_json)


@app.command()
def sweep(
    directory: Where = HERE,
    now: Annotated[bool, typer.Option("--now", help="begin a pass over every record")] = False,  # noqa: FBT002
    wait: Annotated[bool, typer.Option("--wait", help="the same, until all are read")] = False,  # noqa: FBT002
    as_json: AsJson = False,  # noqa: FBT002
    private: PrivatePort = None,
) -> None:
    """Read every record of every tool again and compare it value by value.

    With --now or --wait a pass begins at once, wherever it is done. Without, this process is the
    part of a hub that sweeps, and keeps house; as many of them as wanted.
    """
    folder = Folder(directory)
    if not (now or wait):
        stay_up(directory, "sweep", None, private)
        return

    def work(tell: Tell, ask: Ask) -> Answer:
        begun = ask("sweep")
        return {**begun, **follow_sweep(ask, begun["since"], tell)}

    with told("interrupted: a hub that is up goes on with the sweep"):
        answer = with_hub_up(folder, work) if wait else opening.ask(folder, "sweep")
        up = opening.hub_is_up(folder) or opening.others_are_up(folder)
        line = shown.sweep_line(answer, up=up)
    show(answer, [line], as_json=as_json)


def follow_sweep(ask: Ask, since: int, tell: Tell) -> Answer:
    """Wait until every record was read, telling how far it is."""
    while not (found := ask("swept", since=since))["done"]:
        tell(shown.swept_line(found))
        time.sleep(ASK_SECONDS)
    return found


# -- looking -----------------------------------------------------------------------------------


@app.command()
def status(directory: Where = HERE, as_json: AsJson = False) -> None:  # noqa: FBT002
    """Each system, what waits, what is held, and what needs a person."""
    with told():
        answer = opening.ask(Folder(directory), "status")
    show(answer, shown.status_lines(answer), as_json=as_json)


@app.command()
def explain(
    who: Annotated[
        str,
        typer.Argument(help="an e-mail address, a telephone number, a domain, or a tool's own id"),
    ],
    field: Annotated[str, typer.Argument(help="only this field")] = "",
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Where each value came from, which rule chose it, what lost, what each tool holds now."""
    with told():
        answer = opening.ask(Folder(directory), "explain", who=who, field=field)
    show(answer, shown.explain_lines(answer), as_json=as_json)


@app.command()
def history(
    who: Annotated[str, typer.Argument(help="who, as for explain")],
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Every version of a customer: what changed, when, by which input and rule."""
    with told():
        answer = opening.ask(Folder(directory), "history", who=who)
    show(answer, shown.history_lines(answer), as_json=as_json)


@app.command()
def verify(
    directory: Where = HERE,
    refold: Annotated[  # noqa: FBT002
        bool, typer.Option("--refold", help="fold every input again and compare; takes a while")
    ] = False,
    accept: Annotated[  # noqa: FBT002
        bool, typer.Option("--accept", help="let history count as it is, whatever was anchored")
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Detect an edited, reordered, removed or cut-off history; exit 1 when there is one.

    History is compared with its anchor, the file that hub.yaml names. Where the two disagree
    nothing more is anchored, `status` and the alerts say so too, and a copy put back (of the file,
    or of the state folder) ends it. With --accept history counts as it is now; that and your name
    are kept in the file, and every later verify tells it.
    """
    with told():
        who = os.environ.get("USER", "operator")
        answer = opening.ask(Folder(directory), "verify", refold=refold, accept=accept, who=who)
    show(answer, shown.verify_lines(answer), as_json=as_json)
    if answer["findings"] or answer["anchor"]["todo"] or answer.get("differs"):
        raise typer.Exit(FOUND)


@app.command()
def export(
    what: Annotated[str, typer.Argument(help="golden")] = "golden", directory: Where = HERE
) -> None:
    """Golden records as JSON lines: values, winners, rules and claims."""
    with told():
        if what != "golden":
            raise Wrong(f"{what!r} cannot be exported; `golden` can")
        answer = opening.ask(Folder(directory), "export")
    for line in answer["lines"]:
        typer.echo(line)


# -- deciding ----------------------------------------------------------------------------------


@app.command()
def review(
    act: Annotated[str, typer.Argument(help="list, same, different")] = "list",
    task: Annotated[str, typer.Argument(help="the task, as listed")] = "",
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Possible duplicates: list them, or say of one that it is the same, or different."""
    with told():
        answer = opening.ask(Folder(directory), "review", act=act, task=task)
    show(answer, shown.review_lines(answer), as_json=as_json)


@app.command()
def parked(
    act: Annotated[str, typer.Argument(help="list, keep, unlink, recreate, dismiss")] = "list",
    item: Annotated[str, typer.Argument(help="the item, as listed")] = "",
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """What was set aside. A record that is gone: keep, unlink, recreate; anything else: dismiss."""
    with told():
        answer = opening.ask(Folder(directory), "parked", act=act, item=item)
    show(answer, shown.parked_lines(answer), as_json=as_json)


@app.command()
def replay(
    item: Annotated[str, typer.Argument(help="the item, as `synchub parked` lists it")],
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Try again what was parked."""
    with told():
        answer = opening.ask(Folder(directory), "replay", item=item)
    show(answer, [f"{answer['item']}: {answer['replayed']}"], as_json=as_json)


# -- proving -----------------------------------------------------------------------------------


@app.command()
def simulate(
    seed: Annotated[int, typer.Option(help="the run; the same seed gives the same trace")],
    steps: Annotated[int, typer.Option(min=1, help="how much happens")] = 120,
    trace: Annotated[bool, typer.Option("--trace", help="print it in any case")] = False,  # noqa: FBT002
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Run the whole hub in a seeded world that stumbles; exit 1 names the promise that broke."""
    from hub.tools.simulate import simulate as run

    logs.be_quiet()
    outcome = run(seed, steps)
    answer = {
        "seed": seed,
        "ok": outcome.ok,
        "why": outcome.why,
        "faults": dict(sorted(outcome.faults.items())),
        "trace": outcome.trace if trace or not outcome.ok else [],
    }
    show(answer, shown.simulate_lines(answer), as_json=as_json)
    if not outcome.ok:
        raise typer.Exit(FOUND)


@app.command()
def bench(  # noqa: PLR0913, PLR0917  each option is a line of --help
    what: Annotated[str, typer.Argument(help="resolve, calls, latency, path")],
    records: Annotated[int, typer.Option(min=2, help="resolve: standing records")] = 100_000,
    edits: Annotated[
        int | None, typer.Option(min=2, help="edits that are measured (1000; latency: 2000)")
    ] = None,
    customers: Annotated[
        int | None, typer.Option(min=10, help="customers (calls: 2500; latency: 10000)")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="latency, path: edits a second")] = 20,
    backlog: Annotated[int, typer.Option(min=0, help="path: inputs to catch up with")] = 100_000,
    log: Annotated[str, typer.Option(help="path: the log, kafka")] = "kafka",
    store: Annotated[str, typer.Option(help="path: the store, postgres")] = "postgres",
    at_postgres: Annotated[
        str, typer.Option("--postgres", help="path: address of a database")
    ] = "",
    at_kafka: Annotated[str, typer.Option("--kafka", help="path: address of brokers")] = "",
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Measure this hub on this machine: resolving, calls for a backlog, how long an edit takes.

    `path` does so on Kafka and PostgreSQL, at the addresses given; in the source tree it starts
    some of its own.
    """
    from hub.tools import bench as benches
    from hub.tools.latency import bench_latency

    def path() -> benches.Outcome:
        from hub.tools.path import Parts, bench_path

        if (log, store) != ("kafka", "postgres"):
            raise Wrong("path is measured on kafka and postgres; `bench resolve` on a file")
        if bool(at_postgres) != bool(at_kafka):
            raise Wrong("--postgres and --kafka go together")
        given = Parts(at_postgres, at_kafka) if at_kafka else None
        return bench_path(records, edits or 10_000, backlog, rate, given, tell)

    with told(), shown.telling() as tell:
        benchmarks: dict[str, Callable[[], benches.Outcome]] = {
            "resolve": lambda: benches.bench_resolve(records, edits or 1_000, tell),
            "calls": lambda: benches.bench_calls(customers or 2_500, edits or 1_000, tell),
            "path": path,
            "latency": lambda: bench_latency(customers or 10_000, edits or 2_000, rate, tell),
        }
        if what not in benchmarks:
            raise Wrong(f"{what!r} is no benchmark; there are: {', '.join(benchmarks)}")
        outcome = benchmarks[what]()
    show(outcome.as_json(), shown.bench_lines(outcome.as_json()), as_json=as_json)


@app.command()
def demo(
    once: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--once", help="end when all is quiet, with a summary; exit 0 only if all is proven"
        ),
    ] = False,
    customers: Annotated[int, typer.Option(min=10, help="how many customers")] = 500,
    seed: Annotated[int, typer.Option(help="another seed, other customers")] = 7,
) -> None:
    """Four sandboxed tools with messy customers: connect, plan, apply, a tour, and a proof.

    The tour plays seven events (a corrected address, an unsubscribe, a changed telephone number, a
    new contact, a clash, a tool that is down, a judged duplicate) and tells of each what arrived
    where, how long it took, and why. The proof reads every record over the tools' own APIs: each
    field must be as golden has it, save up to 2 % with a reason that is told, nobody's refusal may
    be forgotten, no strangers joined, and 95 % of the pairs that are surely one customer found.
    Without --once everything stays up until Ctrl-C, to look around; 500 customers take two to
    three minutes.
    """
    from hub.tools.demo import run

    with told():
        good = run(seed, customers, wait=None if once else wait_for_signal)
    if not good:
        raise typer.Exit(FOUND)


if __name__ == "__main__":
    app()
