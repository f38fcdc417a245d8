"""The `synchub` command.

Every command works while a hub is up (over its command socket) and while none is (it opens the
store itself); `--json` gives what a program wants.

Exit codes: 0 done, 1 something is wrong with what was found, 2 wrong use, 3 the tool or the hub
could not be reached.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from connectors._kit.contract import ConnectorError
from hub import __version__, opening
from hub.commands import Wrong
from hub.io.anchor import BadAnchor
from hub.io.migrate import NewerDatabase
from hub.io.seal import BadKeyFile
from hub.io.store import Busy
from hub.opening import Folder
from hub.settings import BadSettings

app = typer.Typer(
    name="synchub",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep the same customer the same in every tool. Start with `synchub demo`, or with "
    "`synchub sandbox` and `synchub init`.",
)
WRONG_USE, UNREACHABLE = 2, 3
Where = Annotated[Path, typer.Option("--dir", help="the folder of hub.yaml")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for programs")]
HERE = Path()


@contextmanager
def told() -> Iterator[None]:
    """Errors that a person can do something about, as one text and an exit code."""
    try:
        yield
    except (Wrong, BadSettings, BadKeyFile, BadAnchor, NewerDatabase, LookupError) as error:
        fail(str(error), WRONG_USE)
    except (Busy, ConnectorError, OSError) as error:
        fail(str(error), UNREACHABLE)


def fail(text: str, code: int) -> None:
    """Say why on stderr and exit."""
    typer.echo(f"synchub: {text}", err=True)
    raise typer.Exit(code)


def show(answer: Any, *, as_json: bool, lines: Iterator[str] | None = None) -> None:
    """An answer as JSON, or as lines for a person."""
    if as_json or lines is None:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return
    for line in lines:
        typer.echo(line)


@app.callback(invoke_without_command=True)
def main_options(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,  # noqa: FBT002
) -> None:
    """Options of the command itself."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


# -- setting up --------------------------------------------------------------------------------


@app.command()
def sandbox(
    describe: Annotated[Path, typer.Option(help="write addresses and credentials to this file")],
    systems: Annotated[str, typer.Option(help="which, separated by commas")] = "hubspot,stripe",
    seed: Annotated[int, typer.Option(help="another seed, other customers")] = 1,
    customers: Annotated[int, typer.Option(min=0, help="how many customers there are")] = 500,
    port: Annotated[int, typer.Option(help="the first port; 0 takes free ones")] = 0,
) -> None:
    """Serve sandboxed tools over HTTP on this machine, until Ctrl-C."""
    from connectors._kit import serve

    with told():
        served = serve.start(
            [s.strip() for s in systems.split(",") if s.strip()], seed, customers, port
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
) -> None:
    """Contact each system, then write hub.yaml, rules.yaml and secrets/."""
    with told():
        found = opening.init(Folder(directory), opening.read_description(source))
    for name, account in found.items():
        typer.echo(
            f"{name}: account {account.id}, {'live' if account.live else 'test'}, "
            f"{account.time_zone}"
        )
    typer.echo(f"written: {directory / 'hub.yaml'}, rules.yaml, secrets/. Next: synchub plan")


@app.command()
def check(
    directory: Where = HERE,
    publish: Annotated[  # noqa: FBT002
        bool, typer.Option("--publish", help="make rules.yaml the rules from the next start on")
    ] = False,
) -> None:
    """Check settings, rules, credentials and accounts; reads only."""
    folder = Folder(directory)
    with told():
        wrong = opening.check(folder)
        if publish and not wrong:
            with opening.opened(folder) as one:
                version = one.store.transact(
                    lambda rows: opening.publish(
                        rows, folder.rules(), "check --publish", one.hub.env.now()
                    )
                )
            typer.echo(f"rules.yaml is version {version} now")
    if wrong:
        fail("\n".join(wrong), 1)
    typer.echo("all is well")


# -- running -----------------------------------------------------------------------------------


@app.command()
def up(directory: Where = HERE) -> None:
    """Run the hub until Ctrl-C or SIGTERM: capture, resolve, deliver and sweep, all in one."""
    from hub.running import running

    with told(), running(Folder(directory)) as one:
        typer.echo(f"up: webhooks at port {one.webhooks.port}, commands at {one.socket}")
        if not one.applied():
            typer.echo("nothing is written before a plan was applied: synchub plan")
        wait_for_signal()
        typer.echo("stopping: every step in progress is finished first")


def wait_for_signal() -> None:
    """Return on SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(3600):
        pass


@app.command()
def plan(
    run: Annotated[str, typer.Argument(help="show this run again")] = "",
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Show row by row what would be written where and why; writes nothing."""
    with told():
        answer = opening.ask(Folder(directory), "plan", run=run)
    show(answer, as_json=as_json, lines=plan_lines(answer))


def plan_lines(answer: dict[str, Any]) -> Iterator[str]:
    """A run, for a person."""
    for row in answer["rows"]:
        yield f"{row['system']}  {row['op']}  {row['record']}"
        for cell in row["cells"]:
            before = "" if cell["from"] is None else f"{in_words(cell['from'])} → "
            yield f"    {cell['cell']}: {before}{in_words(cell['to'])}   ({cell['why']})"
    yield ""
    yield "totals: " + (", ".join(f"{n} x {k}" for k, n in answer["totals"].items()) or "nothing")
    if answer["created_nowhere"]:
        yield (
            f"{answer['created_nowhere']} possible duplicates are created nowhere until "
            "somebody judges them: synchub review"
        )
    yield (
        f"run {answer['run']} is stored; nothing was written. To write it: synchub apply "
        f"{answer['run']}"
    )


def in_words(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return ", ".join(str(v) for v in value.values() if v)
    return "(empty)" if value in (None, "") else str(value)


@app.command()
def apply(
    run: Annotated[str, typer.Argument(help="the id that `synchub plan` printed")],
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Write the rows of a plan that are still as they were shown; later changes then flow."""
    from hub.running import running

    folder = Folder(directory)
    with told():
        if folder.socket().exists():
            counted = opening.ask(folder, "apply", run=run)
            done = follow_run(folder, run)
        else:
            with running(folder):
                counted = opening.ask(folder, "apply", run=run)
                done = follow_run(folder, run)
    show(
        {**counted, **done},
        as_json=as_json,
        lines=iter(
            [
                f"{counted['released']} rows released, {counted['held']} held for another plan",
                f"{done['done']} of {done['rows']} rows written",
            ]
        ),
    )


def follow_run(folder: Folder, run: str) -> dict[str, int]:
    """Wait until an applied run is through, showing how far it is."""
    last = ""
    while True:
        found = opening.ask(folder, "progress", run=run)
        line = f"\r{found['done']} of {found['rows']} rows"
        if line != last and sys.stderr.isatty():
            sys.stderr.write(line)
        last = line
        if not found["open"]:
            if sys.stderr.isatty():
                sys.stderr.write("\n")
            return found
        time.sleep(0.2)


@app.command("stop-writes")
def stop_writes(
    directory: Where = HERE,
    release: Annotated[bool, typer.Option("--release", help="let writes flow again")] = False,  # noqa: FBT002
) -> None:
    """The one switch: no write leaves the hub until it is released."""
    with told():
        answer = opening.ask(Folder(directory), "stop-writes", on=not release)
    typer.echo("no write leaves the hub now" if answer["writes_stopped"] else "writes flow again")


@app.command()
def sweep(directory: Where = HERE) -> None:
    """Read every record of every tool again and compare it value by value."""
    with told():
        answer = opening.ask(Folder(directory), "sweep")
    typer.echo(f"sweeping: {', '.join(answer['sweeping'])}")


# -- looking -----------------------------------------------------------------------------------


@app.command()
def status(directory: Where = HERE, as_json: AsJson = False) -> None:  # noqa: FBT002
    """Each system, what waits, what is held, and what needs a person."""
    with told():
        answer = opening.ask(Folder(directory), "status")
    show(answer, as_json=as_json, lines=status_lines(answer))


def status_lines(answer: dict[str, Any]) -> Iterator[str]:
    """The state of a hub, for a person."""
    for name, one in answer["systems"].items():
        yield (
            f"{name}: {one['records']} records, {one['to_look_at']} links to look at, "
            f"{one['to_create']} to create, {one['held']} held, {one['open_hints']} to read"
        )
        for counter, n in one["counters"].items():
            yield f"    {counter}: {n}"
        if one["last_failure"]:
            yield f"    last failure: {one['last_failure']}"
    yield f"customers: {answer['customers']}, inputs waiting: {answer['pending_inputs']}"
    yield (
        f"needs a person: {answer['possible_duplicates']} possible duplicates (synchub review), "
        f"{answer['parked']} parked (synchub parked)"
    )
    if not answer["applied"]:
        yield "nothing is written yet: synchub plan, then synchub apply"
    if answer["writes_stopped"]:
        yield "writes are stopped: synchub stop-writes --release"


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
    show(answer, as_json=as_json, lines=explain_lines(answer))


def explain_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Customers explained, for a person."""
    for one in answer["customers"]:
        yield f"{one['entity']} {one['golden']}"
        for record in one["records"]:
            yield f"  {record['system']} {record['object']} {record['id']} ({record['state']})"
        for name, cell in one["fields"].items():
            origin = cell["from"]
            by = (
                f" from {origin['system']} by {origin['by']} at {when(origin['at'])}"
                if origin
                else ""
            )
            yield f"  {name} = {in_words(cell['value'])}{by}   [{cell['rule']}]"
            for lost in cell["lost"]:
                yield (
                    f"      not {in_words(lost['value'])} from {lost['system']} "
                    f"at {when(lost['at'])}"
                )
        for tool, held in one["tools"].items():
            odd = {c: h for c, h in held.items() if isinstance(h, dict) and h["state"] != "agree"}
            yield f"  {tool}: " + (
                "as golden"
                if not odd
                else "; ".join(
                    f"{c} holds {in_words(h['holds'])} ({h['state']})" for c, h in odd.items()
                )
            )
        if one["possible_duplicates"]:
            yield "  may be the same as another customer: synchub review"


def when(at: int) -> str:
    """A time for a person, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at / 1000))


@app.command()
def history(
    who: Annotated[str, typer.Argument(help="who, as for explain")],
    directory: Where = HERE,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Every version of a customer: what changed, when, by which input and rule."""
    with told():
        answer = opening.ask(Folder(directory), "history", who=who)
    show(answer, as_json=as_json, lines=history_lines(answer))


def history_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Versions, for a person."""
    for one in answer["customers"]:
        yield f"{one['golden']}"
        for version in one["versions"]:
            yield f"  {when(version['at'])} version {version['version']}"
            for change in version["changes"]:
                before = change["before"] and in_words(change["before"]["value"])
                after = change["after"] and in_words(change["after"]["value"])
                rule = change["after"]["rule"] if change["after"] else "nobody claims it any more"
                if before != after:
                    yield f"      {change['cell']}: {before or '(nothing)'} → {after}   [{rule}]"


@app.command()
def verify(
    directory: Where = HERE,
    refold: Annotated[  # noqa: FBT002
        bool, typer.Option("--refold", help="fold every input again and compare; takes a while")
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Detect an edited, reordered, removed or cut-off history; exit 1 when there is one."""
    folder = Folder(directory)
    with told():
        anchor = str(folder.anchor().absolute())
        answer = opening.ask(folder, "verify", anchor=anchor, refold=refold)
    show(answer, as_json=as_json, lines=verify_lines(answer))
    if answer["findings"] or answer.get("differs"):
        raise typer.Exit(1)


def verify_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Findings, for a person."""
    for found in answer["findings"]:
        yield f"lane {found['lane']}, entry {found['entry']}: {found['why']}"
    for lane, n in answer["unanchored"].items():
        yield f"lane {lane}: the last {n} entries are not in the anchor yet"
    for found in answer.get("differs", ()):
        yield f"{found['what']} differently: {', '.join(found['records'])}"
    if answer.get("differs") == []:
        yield "folding every recorded input again gives the same golden records"
    yield f"{answer['entries']} entries, " + (
        f"{len(answer['findings'])} findings" if answer["findings"] else "all in order"
    )


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
    show(answer, as_json=as_json, lines=review_lines(answer))


def review_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Questions, for a person."""
    if "tasks" not in answer:
        yield f"{answer['task']}: {answer['verdict']}"
        return
    for task in answer["tasks"]:
        yield f"{task['task']}   ({task['why']})"
        for side in task["sides"]:
            yield "    " + "; ".join(f"{n} {in_words(v)}" for n, v in side.items())
    if not answer["tasks"]:
        yield "nothing to judge: no two customers look like one"


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
    show(answer, as_json=as_json, lines=parked_lines(answer))


def parked_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Parked items, for a person."""
    if "parked" not in answer:
        yield f"{answer['item']}: {answer['decided']}"
        return
    for row in answer["parked"]:
        yield f"{row['id']}   {row['why']}   (since {when(row['since'])})"
    if not answer["parked"]:
        yield "nothing is parked"


@app.command()
def replay(
    item: Annotated[str, typer.Argument(help="the item, as `synchub parked` lists it")],
    directory: Where = HERE,
) -> None:
    """Try again what was parked."""
    with told():
        answer = opening.ask(Folder(directory), "replay", item=item)
    typer.echo(f"{answer['item']}: {answer['replayed']}")


# -- proving -----------------------------------------------------------------------------------


@app.command()
def simulate(
    seed: Annotated[int, typer.Option(help="the run; the same seed gives the same trace")],
    steps: Annotated[int, typer.Option(min=1, help="how much happens")] = 120,
    trace: Annotated[bool, typer.Option("--trace", help="print it in any case")] = False,  # noqa: FBT002
) -> None:
    """Run the whole hub in a seeded world that stumbles; exit 1 names the promise that broke."""
    from hub.running import be_quiet
    from hub.tools.simulate import simulate as run

    be_quiet()
    outcome = run(seed, steps)
    if trace or not outcome.ok:
        for line in outcome.trace:
            typer.echo(line)
    faults = ", ".join(f"{n} x {kind}" for kind, n in sorted(outcome.faults.items()))
    typer.echo(f"seed {seed}: {outcome.why or 'every promise held'}; {faults}")
    if not outcome.ok:
        raise typer.Exit(1)


@app.command()
def demo(
    once: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--once",
            help="end when all is quiet, with a summary; exit 0 only if every tool equals golden",
        ),
    ] = False,
    customers: Annotated[int, typer.Option(min=10, help="how many customers")] = 500,
    seed: Annotated[int, typer.Option(help="another seed, other customers")] = 7,
) -> None:
    """Two sandboxed tools with messy customers, connected, planned, applied, and edited."""
    from hub.tools.demo import run

    with told():
        good = run(seed, customers, wait=None if once else wait_for_signal)
    if not good:
        raise typer.Exit(1)


def main() -> None:
    """The entry point."""
    app()
