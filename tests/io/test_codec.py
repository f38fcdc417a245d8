"""Events as bytes, and the versions of their schemas."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tomllib
from collections.abc import Iterator
from io import BytesIO
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.io import codec, schemas
from hub.io.codec import Codec
from hub.io.schemas import PUBLISHED, SCHEMAS, Undecodable
from hub.pure.model import Input, Observation, Record
from tests.io import evolution

ROOT = Path(__file__).parents[2]
VERSIONS: dict[str, str] = tomllib.loads((ROOT / "tests/versions.toml").read_text())["versions"]
UID = "01a0c450-7f5a-75b1-a522-4a58b791f1d8"
JANE = Record(UID, "person", "crm", "contacts", "7")
SEEN = Input(UID, 3, Observation(1, 2, {"email": "jane@x.com", "tags": ["a"]}, {}, {}))

# -- shapes ------------------------------------------------------------------------------------

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "email": st.none() | st.just("jane@x.com"),
        "name": st.none() | st.just({"given": "Jane", "family": "Doe"}),
        "tags": st.lists(st.sampled_from(["a", "b"]), unique=True),
        "balance": st.none() | st.just({"minor": -5, "currency": "EUR"}),
        "delinquent": st.none() | st.booleans(),
        "note": st.none() | st.text(max_size=20).filter(lambda t: t.isprintable()),
    },
)


@given(VALUES)
def test_absent_and_cleared_stay_apart(values: dict[str, Any]) -> None:
    """Covered and null is cleared, not covered is absent, after a way through Avro."""
    record = Record(UID, "person", "crm", "contacts", "7")
    item = Input(UID, 3, Observation(1, 2, values, {"phone": "no scope"}, {"x": "y"}))
    told = Codec().decode("person_change", Codec().cdc(record, item))
    after = told["after"]
    assert sorted(after["covered"]) == sorted(values)
    assert after["unknown"] == {"phone": "no scope"}
    assert after["ext"] == {"x": "y"}
    assert told["event_id"] == f"{UID}:3"
    for name in codec.known_fields("person") - set(values) - {"covered", "unknown", "ext"}:
        assert after[name] is None
    if values.get("email"):
        assert after["email"][0]["value"] == "jane@x.com"
    if "tags" in values:
        assert [t["value"] for t in after["tags"]] == values["tags"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("out", "out"),
        ({"state": "in", "proof": "form 7"}, "in"),
        (None, "none"),
        ("no", "none"),
        ({"state": "later"}, "none"),
        ({}, "none"),
        (True, "none"),
    ],
)
def test_what_is_not_understood_is_no_consent(said: Any, told: str) -> None:
    """Readers are told of a consent only where a tool says so in a word that we know."""
    seen = Observation(1, 2, {"consent": {"email.marketing": said}}, {}, {})
    after = Codec().decode("person_change", Codec().cdc(JANE, Input(UID, 3, seen)))["after"]
    assert after["consent"] == [{"key": "email.marketing", "state": told}]


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    """No bytes from outside break the reader; they are refused with a reason."""
    good = codec.BY_FILE + schemas.fingerprint("person_change")
    for tried in (data, good + data):
        with contextlib.suppress(Undecodable):
            assert isinstance(Codec().decode("person_change", tried), dict)


# -- versions ----------------------------------------------------------------------------------


def test_schemas_only_have_optional_fields_with_defaults() -> None:
    """Old and new versions read each other: entity fields are nullable or have a default."""
    for name in ("person", "company"):
        doc = schemas.read(name)
        assert all("default" in f for f in doc["fields"]), name
        assert "enum" not in json.dumps(doc)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the schemas in which a person has a field more than in the version that is kept."""
    return evolution.newer(tmp_path, {"type": ["null", "string"], "default": None})


def unkept(folder: Path = SCHEMAS) -> list[str]:
    """The schemas whose present version is not kept as it is."""
    kept = {name: schemas.kept_as(name, folder) for name in PUBLISHED}
    return [
        name
        for name, path in kept.items()
        if not path.exists() or json.loads(path.read_text()) != schemas.whole(name, folder)
    ]


def test_every_version_is_kept(folder: Path) -> None:
    """A schema that was changed is told from one that is kept, until that is kept too."""
    how = "keep it: python -c 'from hub.io import schemas; schemas.keep()'"
    assert unkept() == [], how
    assert unkept(folder) == ["person_change"]
    schemas.keep(folder)
    assert unkept(folder) == []
    assert len(list((folder / "versions" / "person_change").iterdir())) == 1 + len(
        list((SCHEMAS / "versions" / "person_change").iterdir())
    )


@pytest.mark.parametrize("name", VERSIONS)
def test_released_versions_stay_kept(name: str, tmp_path: Path) -> None:
    """What an older version of the hub has written is written with a schema that is kept."""
    for part in {part for published in PUBLISHED for part in schemas.parts(published)}:
        (tmp_path / f"{part}.avsc").write_text(committed(VERSIONS[name], f"schemas/{part}.avsc"))
    for published in PUBLISHED:
        kept = SCHEMAS / "versions" / published / schemas.kept_as(published, tmp_path).name
        assert json.loads(kept.read_text()) == schemas.whole(published, tmp_path)


def committed(commit: str, path: str) -> str:
    """A file as it was at a commit."""
    done = subprocess.run(  # noqa: S603
        ["git", "show", f"{commit}:{path}"],  # noqa: S607
        cwd=ROOT, capture_output=True, check=False)  # fmt: skip
    if done.returncode:
        pytest.skip(f"this checkout has no commit {commit}: {done.stderr.decode().strip()}")
    return done.stdout.decode()


def test_bytes_of_every_version_are_read(folder: Path) -> None:
    """A newer hub reads what an older one wrote, with null for what that one did not know."""
    old, new = Codec(), Codec(folder=folder)
    before = old.cdc(JANE, SEEN)
    told = new.decode("person_change", before)
    assert told["after"].pop("added", "absent") is None
    assert told == old.decode("person_change", before)
    told["after"]["added"] = "news"
    after = new.encode("cdc.crm.contacts", "person_change", told)
    assert new.decode("person_change", after) == told
    with pytest.raises(Undecodable, match="any version"):
        old.decode("person_change", after)


def test_the_fingerprint_names_the_file_that_reads_the_bytes() -> None:
    """Without a registry others need that file of ours only, and nothing of the code."""
    data = Codec().cdc(JANE, SEEN)
    file = SCHEMAS / "versions" / "person_change" / f"{data[1:9].hex()}.avsc"
    alone = fastavro.parse_schema(json.loads(file.read_text()))
    found = fastavro.schemaless_reader(BytesIO(data[9:]), alone, None)
    assert found == Codec().decode("person_change", data)


@pytest.mark.parametrize("cut", [1, 5, 9, 20, -1])
def test_bytes_that_were_cut_are_refused(cut: int) -> None:
    """A message that lost its end, or has one too long, is refused with the reason."""
    data = Codec().cdc(JANE, SEEN)
    for broken in (data[:cut], data + b"x"):
        with pytest.raises(Undecodable):
            Codec().decode("person_change", broken)


def pairs() -> Iterator[tuple[str, Any, Any]]:
    """Every two versions of a schema, each with itself too."""
    for name in PUBLISHED:
        kept = [json.loads(f.read_text()) for f in sorted((SCHEMAS / "versions" / name).iterdir())]
        yield from ((name, a, b) for a, b in combinations_with_replacement(kept, 2))


@pytest.mark.parametrize(("name", "one", "other"), list(pairs()))
def test_versions_read_each_other(name: str, one: Any, other: Any) -> None:
    """Old and new hubs run side by side, and logs are read from the start, by any of them."""
    assert one["name"] == other["name"], name
    evolution.read_each_other(one, other)


PERSON = schemas.whole("person_change")


@pytest.mark.parametrize(("what", "changed"), list(evolution.good(PERSON)))
def test_versions_that_may_follow_are_let_through(what: str, changed: Any) -> None:
    """A change that both sides can live with is found to be one."""
    assert changed != PERSON, what
    evolution.read_each_other(PERSON, changed)


@pytest.mark.parametrize(("what", "changed"), list(evolution.bad(PERSON)))
def test_versions_that_must_not_follow_are_caught(what: str, changed: Any) -> None:
    """A change that one side cannot read is found with generated values."""
    assert changed != PERSON, what
    with pytest.raises((Undecodable, AssertionError)):
        evolution.read_each_other(PERSON, changed)
