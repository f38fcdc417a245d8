"""Where the `synchub` command begins: Ctrl-C counts from the first moment on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; who interrupts it while it is still being loaded gets no traceback."""
    try:
        from hub.cli import INTERRUPTED, app  # noqa: PLC0415  loading it takes most of a second
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
