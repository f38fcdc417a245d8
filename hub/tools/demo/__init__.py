"""The demo: four sandboxed tools, one hub, a tour of what happens in a company, and a proof.

`stage.py` sets it up, plans and applies; `tour.py` lets people work in the tools and watches what
arrives; `proof.py` reads every record over the tools' own APIs and holds it against golden. The
generator, which knows who is who, is the judge of links.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from connectors._kit import serve
from hub import opening
from hub.logs import be_quiet
from hub.opening import Folder
from hub.running import running
from hub.tools.demo.proof import prove, report
from hub.tools.demo.stage import SYSTEMS, Stage, linked_pairs, refusals, say
from hub.tools.demo.tour import tour

__all__ = ["linked_pairs", "run"]


def run(seed: int, customers: int, wait: Callable[[], None] | None) -> bool:
    """The whole demo; with `wait` it stays up until that returns. Whether everything is proven."""
    be_quiet()
    place = Path(tempfile.mkdtemp(prefix="synchub-demo-"))
    served = serve.start(SYSTEMS, seed, customers)
    refused = refusals(served)
    try:
        serve.describe(served, place / "sandboxes.json")
        opening.init(Folder(place), opening.read_description(place / "sandboxes.json"), (0, 0))
        with running(Folder(place)) as up:
            stage = Stage(up.opened.hub, served, seed, customers, place, refused)
            try:
                return perform(stage, wait)
            finally:
                stage.close()
    finally:
        for one in served.values():
            one.stop()
        shutil.rmtree(place, ignore_errors=True)


def perform(stage: Stage, wait: Callable[[], None] | None) -> bool:
    """Connect, plan, apply, tour, prove."""
    began = time.monotonic()
    stage.introduce()
    stage.apply(stage.plan())
    shown = tour(stage)
    proof = prove(stage)
    report(proof)
    good = shown and proof.good
    took = f"{time.monotonic() - began:.0f} s after the start"
    say(f"   {'All is proven.' if good else 'NOT proven.'} ({took})")
    if wait:
        say(
            f"The hub stays up. Console: {stage.console}\n"
            f"Look around with: synchub status --dir {stage.place}. Ctrl-C ends it."
        )
        wait()
    return good
