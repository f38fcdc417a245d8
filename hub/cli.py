"""The command line: every command of `synchub`."""

from typing import Annotated

import typer

from hub import __version__

app = typer.Typer(no_args_is_help=True)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        typer.echo(f"synchub {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    *, version: Annotated[bool, typer.Option("--version", callback=_show_version)] = False
) -> None:
    """Keep the same customer the same in every tool."""


def main() -> None:
    """Run the command that the process was started with."""
    app()
