"""A newer hub takes over what an older one left behind: its work, its history, its links."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.io import moving
from tests.end_to_end.cluster import ROLES, cluster
from tests.end_to_end.conftest import Site, wait

ROOT = Path(__file__).parents[2]
MILESTONES: dict[str, dict[str, str]] = tomllib.loads((ROOT / "tests/versions.toml").read_text())
VERSIONS, ROLLING = MILESTONES["versions"], MILESTONES["rolling"]


def extracted(commit: str, place: Path) -> Path:
    """The program as it was at a commit."""
    done = subprocess.run(  # noqa: S603
        ["git", "archive", commit, "hub", "connectors", "schemas"],  # noqa: S607
        cwd=ROOT, capture_output=True, check=False)  # fmt: skip
    if done.returncode:
        pytest.skip(f"this checkout has no commit {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(place, filter="data")
    return place


def lines(site: Site) -> list[str]:
    """The first line of every customer's address in billing."""
    return [(c["address"] or {}).get("line1", "") for c in site.billed()]


@pytest.mark.parametrize("name", VERSIONS)
def test_a_newer_hub_goes_on_where_an_older_one_was_killed(
    name: str, make_site: Callable[..., Site], tmp_path: Path
) -> None:
    """It migrates, keeps history and links, writes nothing twice, and delivers the next edit."""
    site = make_site(8)
    site.code = extracted(VERSIONS[name], tmp_path / name)
    site.up()
    site.connect()
    site.act("hubspot", "update", "contacts", "1001", address="1 Old Road", city="Leeds")
    assert site.quiet()
    before = site.call("export").stdout
    site.kill()
    site.code = None
    assert site.call("export").stdout == before
    assert site.call("verify", "--refold").returncode == 0
    site.up()
    assert site.quiet()
    assert site.asked("plan")["rows"] == []
    site.act("hubspot", "update", "contacts", "1001", address="2 New Road", city="Leeds")
    assert wait(lambda: lines(site).count("2 New Road") == 1, 30)
    assert site.stop() == 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ROLLING)
def test_a_cluster_is_replaced_process_by_process(
    name: str, make_site: Callable[..., Site], postgres: str, kafka: str, tmp_path: Path
) -> None:
    """Older and newer processes share the work; at each step an edit arrives, once."""
    older = str(extracted(ROLLING[name], tmp_path / name))
    site = make_site(8)
    with cluster(site, postgres, kafka, partitions=3) as made:
        before = [made.start(role, code=older) for role in ROLES]
        made.connect()
        for role, part in zip(ROLES, before, strict=True):
            made.up(role)
            street = f"{len(made.parts)} {role.title()} Road"
            site.act("hubspot", "update", "contacts", "1001", address=street, city="Leeds")
            assert wait(lambda: lines(site).count(street) == 1, 60), street  # noqa: B023
            assert part.process.poll() is None, part.said
            assert part.stop() == 0, part.said
        assert made.quiet()
        site.act("hubspot", "update", "contacts", "1001", address="9 New Road", city="Leeds")
        assert wait(lambda: lines(site).count("9 New Road") == 1, 60)
        assert not made.view(moving.flaws)
