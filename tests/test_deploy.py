"""What is deployed, held against the tools of those who will run it, and against the hub itself.

`make fetch` builds the tools; a test whose tool is not there is skipped, or fails where
HUB_TEST_REQUIRE names deploy.
"""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from prometheus_client.exposition import generate_latest
from ruamel.yaml import YAML

from connectors._kit import serve
from deploy.local import fetched
from deploy.local.process import Missing
from hub import alerts, metrics, opening, settings
from hub.io import anchor
from hub.opening import Folder
from hub.tools.world import World
from tests.services import lacking

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "synchub"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "synchub.json"
ROLES = {"capture", "resolve", "deliver", "sweep", "console"}
FOREIGN = ("ScaledObject", "ServiceMonitor", "PrometheusRule")  # nobody hands on their schemas
VALUES = sorted((CHART / "ci").glob("*-values.yaml"), key=lambda path: path.name)

Doc = dict[str, Any]


# -- tools -----------------------------------------------------------------------------------------
def ran(name: str, *words: str | Path, given: str | None = None) -> str:
    """What a tool prints. Raises `CalledProcessError`, whose `stderr` says what it found."""
    try:
        program = hadolint() if name == "hadolint" else str(fetched.tool(name))
    except Missing as error:
        lacking("promtool" if name == "promtool" else "deploy", str(error))
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("KUBE", "HELM"))}
    return subprocess.run(  # noqa: S603
        [program, *map(str, words)],
        cwd=DEPLOY, env=quiet, input=given, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def hadolint() -> str:
    """The linter of this environment."""
    beside = Path(sys.executable).parent
    if found := shutil.which("hadolint", path=f"{beside}:{os.environ.get('PATH', '')}"):
        return found
    raise Missing("hadolint is needed: make setup-test brings it")


def refused(name: str, *words: str | Path) -> str:
    """What a tool complains of."""
    with pytest.raises(subprocess.CalledProcessError) as error:
        ran(name, *words)
    return str(error.value.stderr)


@cache
def read(path: Path) -> Doc:
    """A file of YAML, or of JSON."""
    return parsed(path.read_text())


def parsed(text: str) -> Doc:
    """YAML as plain values."""
    found: Doc = YAML(typ="safe").load(text)
    return found


# -- the image -------------------------------------------------------------------------------------
def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (x.partition(" ") for x in lines if x)]


def test_the_dockerfile_is_clean() -> None:
    """Hadolint finds nothing."""
    ran("hadolint", "--failure-threshold", "info", "Dockerfile")


def test_the_image_installs_what_is_locked_and_runs_as_nobody_special() -> None:
    """Packages come as wheels by hash, nothing is installed in the last stage, and root is left."""
    last = max(n for n, (word, _) in enumerate(instructions()) if word == "FROM")
    first, final = instructions()[:last], instructions()[last:]
    locked = [rest for word, rest in first if word == "RUN" and "requirements.lock" in rest]
    assert len(locked) == 1
    assert "--require-hashes" in locked[0]
    assert "--only-binary :all:" in locked[0]
    assert not [rest for word, rest in final if word == "RUN" and re.search(r"\b(pip|apt)", rest)]
    (user,) = [rest for word, rest in final if word == "USER"]
    assert int(user.partition(":")[0]) > 0


def test_the_image_is_sent_what_it_copies_and_no_more() -> None:
    """What is copied exists and is let through, what is let through is copied, secrets are not."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = {
        path
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for path in rest.split()[:-1]
    }
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / path).exists() for path in copied)
    assert not [path for path in copied if fnmatch(path, "*secret*")]


# -- docker compose --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def compose() -> Doc:
    """The compose file as compose understands it."""
    found: Doc = orjson.loads(ran("compose", "--format", "json", DEPLOY / "compose.yaml"))
    return found


def ours(compose: Doc) -> Mapping[str, Doc]:
    """The services that run our image."""
    return {
        name: one
        for name, one in compose["services"].items()
        if one["image"].startswith("synchub:")
    }


def test_compose_takes_the_file(compose: Doc) -> None:
    """Every role is there, and all of ours run as safely as they can."""
    assert ours(compose).keys() > ROLES
    for name, one in ours(compose).items():
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
    for name, one in compose["services"].items():
        assert not one.get("privileged"), name
        assert all(port["host_ip"] == "127.0.0.1" for port in one.get("ports", [])), name


def test_compose_waits_for_what_is_ready(compose: Doc) -> None:
    """Who is waited for is asked whether it is healthy, or ends; only sweep writes the anchor."""
    services = compose["services"]
    for name, one in services.items():
        assert "healthcheck" in one or one["restart"] == "no", name
        for other, how in one.get("depends_on", {}).items():
            ends = services[other]["restart"] == "no"
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert how["condition"] == wanted, f"{name} {other}"
    writes = [
        name
        for name, one in services.items()
        for volume in one.get("volumes", [])
        if volume.get("source") == "anchor" and not volume.get("read_only")
    ]
    assert writes == ["sweep"]


def test_hub_yaml_of_compose_names_its_services(compose: Doc) -> None:
    """Every address in the example is a service, at a port that it listens at."""
    found = settings.load_hub(DEPLOY / "compose" / "hub.yaml")
    assert found.kafka
    assert found.postgres
    assert found.registry
    urls = [found.postgres.url, found.registry.url, found.public.url, f"//{found.kafka.bootstrap}"]
    urls += [one.base_url for one in found.systems.values()]
    services = compose["services"]
    assert {urlsplit(url).hostname for url in urls} <= services.keys()
    assert services["capture"]["ports"][0]["target"] == found.public.port
    assert services["console"]["ports"][0]["target"] == found.private.port
    (database,) = [urlsplit(found.postgres.url)]
    assert services["postgres"]["environment"]["POSTGRES_USER"] == database.username
    assert services["postgres"]["environment"]["POSTGRES_DB"] == database.path[1:]
    assert found.kafka.replication == 1


def test_every_role_is_scraped(compose: Doc) -> None:
    """The Prometheus of the compose file asks each role, with the token that setup gives it."""
    (job,) = read(DEPLOY / "prometheus" / "prometheus.yaml")["scrape_configs"]
    (asked,) = job["dns_sd_configs"]
    assert set(asked["names"]) == ROLES
    assert asked["port"] == settings.load_hub(DEPLOY / "compose" / "hub.yaml").private.port
    volumes = {v["target"] for v in compose["services"]["prometheus"]["volumes"]}
    assert f"/{Path(job['authorization']['credentials_file']).parts[1]}" in volumes
    ran("promtool", "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yaml")


@pytest.fixture
def sandboxes(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The example's hub.yaml with four sandboxes in place of its own, and a folder for the hub."""
    text, folder = (DEPLOY / "compose" / "hub.yaml").read_text(), tmp_path / "hub"
    folder.mkdir()
    systems = list(settings.load_hub(DEPLOY / "compose" / "hub.yaml").systems)
    served = serve.start(systems, 1, 5, at="localhost")
    serve.describe(served, folder / "sandboxes.json")
    for number, one in enumerate(served.values()):
        text = text.replace(f"http://sandbox:{9001 + number}\n", f"{one.base_url}\n")
    (tmp_path / "hub.yaml").write_text(text)
    yield tmp_path / "hub.yaml", folder
    for one in served.values():
        one.stop()


def test_setup_makes_a_folder_that_the_hub_takes(sandboxes: tuple[Path, Path]) -> None:
    """The example's hub is whole and leads to its sandboxes, and done again nothing changes."""
    set_up(*sandboxes)
    held = contents(sandboxes[1])
    found = Folder(sandboxes[1]).hub()
    wrong = opening.check(Folder(sandboxes[1])).wrong
    assert [why for why in wrong if why.partition(":")[0] in found.systems] == []
    assert len(wrong) == 3, "the parts have their names in a cluster only"
    assert Folder(sandboxes[1]).rules() == settings.default_rules(tuple(found.systems))
    assert held["secrets/admin_token"] == held["shared/metrics_token"]
    password = orjson.loads(held["secrets/postgres"])["password"].encode()
    assert held["shared/postgres"] == password
    set_up(*sandboxes)
    assert contents(sandboxes[1]) == held


def test_secrets_of_the_hub_are_for_the_hub_alone(sandboxes: tuple[Path, Path]) -> None:
    """What other parts are given, its group reads; the rest nobody but its user."""
    set_up(*sandboxes)
    modes = {
        path.relative_to(sandboxes[1]).as_posix(): path.stat().st_mode & 0o777
        for path in sandboxes[1].rglob("*")
    }
    own = {m for name, m in modes.items() if name.startswith(("secrets/", "sandboxes"))}
    shared = {m for name, m in modes.items() if name.startswith("shared/")}
    assert (modes["secrets"], modes["shared"]) == (0o700, 0o750)
    assert (own, shared) == ({0o600}, {0o640})


def set_up(example: Path, folder: Path) -> None:
    """Run setup as the container does."""
    script = DEPLOY / "compose" / "setup.py"
    command = [sys.executable, str(script), str(example), str(folder)]
    path = {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, env={**os.environ, **path}, check=True, umask=0o022)  # noqa: S603


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# -- Helm ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rules.yaml as `synchub init` writes it."""
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(settings.render_rules(settings.default_rules(("hubspot",))))
    return path


def oldest() -> str:
    """The oldest Kubernetes that the chart takes."""
    return str(read(CHART / "Chart.yaml")["kubeVersion"]).removeprefix(">=").removesuffix("-0")


@cache
def kubernetes() -> Path:
    """The folder with a folder of schemas for each version of Kubernetes."""
    package = find_spec("kubernetes_validate")
    if package is None:
        lacking("deploy", "kubernetes-validate is needed: make setup-test brings it")
    return Path(package.origin or "").parent / "kubernetes-json-schema"


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strict schemas of the oldest and the newest Kubernetes, each in a folder v1.2.3.

    Those that are published refer to each other by an address, which nothing here is to ask.
    """
    known = sorted(kubernetes().glob("*-strict"), key=lambda p: int(p.name.split(".")[1]))
    folder = tmp_path_factory.mktemp("schemas")
    for found in (kubernetes() / f"v{oldest()}-local-strict", known[-1]):
        into = folder / found.name.partition("-")[0]
        into.mkdir()
        for path in found.glob("*.json"):
            schema = orjson.loads(path.read_bytes())
            schema.pop("$id", None)
            text = orjson.dumps(schema).replace(b'"/api/_definitions.json', b'"_definitions.json')
            (into / path.name).write_bytes(text)
    return folder


def templated(values: Path, rules: Path, version: str = "") -> str:
    """What Helm would send to a cluster."""
    kube = version or oldest()
    return ran("helm", "template", "r", CHART, "--values", values, f"--set-file=rules={rules}",
               f"--kube-version={kube}")  # fmt: skip


def documents(text: str) -> list[Doc]:
    """Each object."""
    return [doc for doc in YAML(typ="safe").load_all(io.StringIO(text)) if doc]


def pods(found: list[Doc]) -> Iterator[tuple[str, Doc]]:
    """The pods of each workload, by the name of its one container."""
    for doc in found:
        if doc["kind"] in ("Deployment", "StatefulSet", "Job"):
            pod = doc["spec"]["template"]["spec"]
            yield pod["containers"][0]["name"], pod


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_helm_finds_nothing_wrong(values: Path, rules_file: Path) -> None:
    """Helm's own linter is content with the chart under every set of values."""
    ran("helm", "lint", "--strict", CHART, "--values", values, f"--set-file=rules={rules_file}")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_kubernetes_takes_every_object(values: Path, rules_file: Path, schemas: Path) -> None:
    """Kubeconform holds each object against the strict schema of its kind, old and new."""
    for folder in schemas.iterdir():
        sent = templated(values, rules_file, folder.name[1:])
        at = f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
        told = ran("kubeconform", "-strict", "-output", "json", "-summary", "-schema-location", at,
                   "-skip", ",".join(FOREIGN), given=sent)  # fmt: skip
        summary = orjson.loads(told)["summary"]
        kinds = [doc["kind"] for doc in documents(sent)]
        foreign = sum(kind in FOREIGN for kind in kinds)
        assert summary == {
            "valid": len(kinds) - foreign, "invalid": 0, "errors": 0, "skipped": foreign
        }  # fmt: skip


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_hub_takes_the_files_of_the_chart(
    values: Path, rules_file: Path, tmp_path: Path
) -> None:
    """hub.yaml and rules.yaml that a pod is given are read by the hub, and equal for the hook."""
    found = documents(templated(values, rules_file))
    files = [d["data"] for d in found if d["kind"] == "ConfigMap" and "hub.yaml" in d["data"]]
    assert len(files) == 2
    assert files[0] == files[1]
    for name, text in files[0].items():
        (tmp_path / name).write_text(text)
    hub = settings.load_hub(tmp_path / "hub.yaml")
    assert settings.load_rules(tmp_path / "rules.yaml", ("hubspot",)).entities
    assert hub.private.admin_token_file
    mounts = {m["mountPath"] for n, p in pods(found) for m in p["containers"][0]["volumeMounts"]}
    assert {hub.state, str(Path(hub.anchor).parent)} <= mounts


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_pods_may_do_as_little_as_they_can(values: Path, rules_file: Path) -> None:
    """No pod runs as root, writes to its image, or has a token; each role has its probes."""
    found = dict(pods(documents(templated(values, rules_file))))
    assert found.keys() == {*ROLES, "migrate"}
    for name, pod in found.items():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"]["limits"]["memory"], name
        if name in ROLES:
            assert container["livenessProbe"]["httpGet"]["path"] == "/livez", name
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz", name
        anchored = "/anchor" in {m["mountPath"] for m in container["volumeMounts"]}
        assert anchored == (name == "sweep")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("hub.private.admin_token_file=", "admin_token_file"),
        ("hub.state=relative", "state"),
        ("roles.sweep.replicas=2", "ReadWriteMany"),
        ("roles.capture.replica=2", "replica"),
        ("ingress.public.enabled=true", "hub.public.url is missing"),
        ("terminationGracePeriodSeconds=5", "terminationGracePeriodSeconds"),
    ],
)
def test_values_that_cannot_work_are_refused(change: str, said: str, rules_file: Path) -> None:
    """What the hub would refuse, or nobody knows, stops Helm before anything is changed."""
    values = CHART / "ci" / "small-values.yaml"
    words = ("--values", values, f"--set-file=rules={rules_file}", f"--kube-version={oldest()}")
    assert said in refused("helm", "template", "r", CHART, *words, "--set", change)


@pytest.mark.parametrize("lacks", ["hub.postgres", "hub.kafka", "hub.systems", "secrets", "rules"])
def test_what_has_to_be_given_is_asked_for(lacks: str, rules_file: Path, tmp_path: Path) -> None:
    """Who leaves out what the chart cannot know is told so by its name."""
    given = parsed((CHART / "ci" / "small-values.yaml").read_text())
    given["rules"] = rules_file.read_text()
    *way, last = lacks.split(".")
    del (given[way[0]] if way else given)[last]
    (tmp_path / "values.yaml").write_bytes(orjson.dumps(given))
    words = ("--values", tmp_path / "values.yaml", f"--kube-version={oldest()}")
    assert f"{lacks} is missing" in refused("helm", "template", "r", CHART, *words)


def test_the_chart_carries_the_rules_and_the_dashboard(rules_file: Path) -> None:
    """Those who use operators and sidecars get the very files that lie here."""
    sent = documents(templated(CHART / "ci" / "whole-values.yaml", rules_file))
    (rule,) = [doc for doc in sent if doc["kind"] == "PrometheusRule"]
    assert rule["spec"] == read(RULES)
    (board,) = [doc for doc in sent if doc["metadata"]["name"].endswith("-dashboard")]
    assert board["data"]["synchub.json"] == DASHBOARD.read_text()


# -- what is looked at -----------------------------------------------------------------------------
def rules() -> list[Doc]:
    """Every alert of the rules."""
    return [rule for group in read(RULES)["groups"] for rule in group["rules"]]


def questions() -> list[str]:
    """Every expression of the dashboard."""
    panels = orjson.loads(DASHBOARD.read_bytes())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@cache
def served() -> Mapping[str, set[str]]:
    """The name of each series that a hub tells, and its labels."""
    found: dict[str, set[str]] = {}
    for family in metrics.Told(World({}).hub).collect():
        labels = set(getattr(family, "_labelnames", ()))
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        for end in ends.get(family.type, [""]):
            found[family.name + end] = labels | ({"le"} if end == "_bucket" else set())
    return found


@pytest.mark.parametrize("asked", [*(rule["expr"] for rule in rules()), *questions()])
def test_what_is_asked_for_is_told(asked: str) -> None:
    """Every metric and label that a rule or a panel asks for is one that the hub serves."""
    names = set(re.findall(r"\bsynchub_\w+", asked))
    assert names <= served().keys()
    labels = {name for of in re.findall(r"by \(([^)]*)\)", asked) for name in of.split(", ")}
    assert labels <= set().union(*(served()[name] for name in names), {"role"})


def test_every_metric_is_looked_at() -> None:
    """No metric is served that neither a panel nor a rule looks at."""
    asked = " ".join([*questions(), *(rule["expr"] for rule in rules())])
    assert families(re.findall(r"synchub_\w+", asked)) == families(served())


def families(names: Iterable[str]) -> set[str]:
    """Those that series belong to."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_prometheus_understands_what_is_asked(tmp_path: Path) -> None:
    """Promtool parses every rule, and every expression of the dashboard as if it was one."""
    ran("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES)
    recorded = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(questions())]
    path = tmp_path / "panels.yaml"
    path.write_bytes(orjson.dumps({"groups": [{"name": "panels", "rules": recorded}]}))
    ran("promtool", "check", "rules", "--lint=none", path)


def test_prometheus_understands_what_it_is_told() -> None:
    """Promtool finds no fault in the metrics of a hub, nor in their names."""
    told = generate_latest(metrics.registry(World({}).hub)).decode()
    ran("promtool", "check", "metrics", given=told)


def test_each_alert_is_raised_when_it_should_be() -> None:
    """Promtool plays a case for every alert, and finds it raised for whom it should be."""
    cases = read(DEPLOY / "prometheus" / "alerts_test.yaml")["tests"]
    assert [case["name"] for case in cases] == [rule["alert"] for rule in rules()]
    for case in cases:
        (played,) = case["alert_rule_test"]
        assert played["alertname"] == case["name"]
        assert played["exp_alerts"]
    ran("promtool", "test", "rules", DEPLOY / "prometheus" / "alerts_test.yaml")


# -- the runbook -----------------------------------------------------------------------------------
def kinds() -> set[str]:
    """Every kind of alert that hub/alerts.py can raise, read off its calls of `alert`."""
    made = set()
    for node in ast.walk(ast.parse(Path(alerts.__file__).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "alert":
            made |= meant(node.args[0])
    return made


def meant(kind: ast.expr) -> set[str]:
    """The kinds that an expression stands for; a new form fails here, to be taught."""
    if isinstance(kind, ast.Constant):
        return {str(kind.value)}
    return {
        "f'parked: {kind}'": {f"parked: {name}" for name in alerts.TODO},
        "found['word']": set(anchor.WORDS),
    }[ast.unparse(kind)]


def test_every_alert_has_its_place_in_the_runbook() -> None:
    """Its headings name each alert of the rules and of the hub once, and no other."""
    _, runbook = (DEPLOY / "README.md").read_text().split("\n## Runbook\n")
    headings = re.findall(r"^### (.*)$", runbook.partition("\n## ")[0], re.MULTILINE)
    named = [name for heading in headings for name in re.findall(r"`([^`]+)`", heading)]
    assert sorted(named) == sorted({rule["alert"] for rule in rules()} | kinds())


def test_every_role_is_a_command() -> None:
    """What the containers run is what there is."""
    from hub.cli import app  # noqa: PLC0415

    known = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    compose = (DEPLOY / "compose.yaml").read_text()
    chart = "\n".join(p.read_text() for p in (CHART / "templates").glob("*.yaml"))
    named = set(re.findall(r"(?:command|args): \[\"?([a-z][a-z-]*)", compose + chart))
    assert named
    assert named <= known, named - known
