"""The codec with a real schema registry: what it registers, reads, refuses, and does without it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fastavro
import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from pydantic import ValidationError

from connectors._kit.simtool import Profile
from deploy.local.parts import Part
from hub import resolve, settings, wiring
from hub.env import Hub
from hub.io import schemas
from hub.io.codec import BY_ID, Codec
from hub.io.registry import FORGET_MS, LEVEL, Registered, way
from hub.io.schemas import NoRegistry, Undecodable
from hub.pure.decide import ChangeSet
from hub.pure.model import Golden, Input, Observation, Record
from hub.tools.world import World
from tests.io import evolution
from tests.io.gate import Gate, gate
from tests.services import certificates
from tests.stories.runner import lines_of, opening, step

UID = "01a0c450-7f5a-75b1-a522-4a58b791f1d8"
JANE = Record(UID, "person", "crm", "contacts", "7")
SEEN = Input(UID, 3, Observation(1, 2, {"email": "jane@x.com", "tags": ["a"]}, {}, {}))
TOPIC = "cdc.crm.contacts"
PERSON = schemas.whole("person_change")
JSON = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'


@pytest.fixture
def prefix() -> str:
    """What the topics of this test's hub begin with: the registry is shared."""
    return f"t{uuid.uuid4().hex}."


@pytest.fixture
def asked(registry: str) -> Iterator[SchemaRegistryClient]:
    """Somebody else's way to the same registry."""
    with SchemaRegistryClient({"url": registry}) as client:
        yield client


@pytest.fixture
def guarded(registry: str) -> Iterator[Gate]:
    """A gate before the registry."""
    with before(registry) as made:
        yield made


@contextmanager
def before(registry: str, **more: Any) -> Iterator[Gate]:
    """A gate before a registry, with the registry's path in its address."""
    parts = urlsplit(registry)
    with gate(f"{parts.scheme}://{parts.netloc}", **more) as made:
        made.url += parts.path
        yield made


class Clock:
    """Milliseconds that pass when they are told to."""

    def __init__(self) -> None:
        self.at = 0

    def __call__(self) -> int:
        """The time."""
        return self.at


@dataclass
class Starting:
    """Makes what a hub with a registry has when it starts; all topics begin with the prefix."""

    prefix: str
    clock: Clock = field(default_factory=Clock)
    made: list[Codec] = field(default_factory=list)

    def codec(self, url: str, folder: Path = schemas.SCHEMAS) -> Codec:
        """The codec of a hub that starts."""
        made = Codec(Registered(way(url), self.prefix, self.clock, folder), folder)
        self.made.append(made)
        return made

    def hub(self, url: str, folder: Path = schemas.SCHEMAS) -> Hub:
        """A hub of one tool."""
        hub = World({"crm": Profile()}).hub
        hub.codec = self.codec(url, folder)
        return hub


@pytest.fixture
def start(prefix: str) -> Iterator[Starting]:
    """What starts here ends with the test."""
    made = Starting(prefix)
    yield made
    for codec in made.made:
        codec.close()


# -- what is written -----------------------------------------------------------------------------


def test_a_topic_has_one_schema_that_stands_for_itself(
    start: Starting, registry: str, prefix: str, asked: SchemaRegistryClient
) -> None:
    """The bytes name an id whose schema, alone, reads them; another hub gets the same id."""
    codec = start.codec(registry)
    data = codec.cdc(JANE, SEEN)
    latest = asked.get_latest_version(f"{prefix}{TOPIC}-value")
    assert (data[:1], int.from_bytes(data[1:5])) == (BY_ID, latest.schema_id)
    assert asked.get_compatibility(f"{prefix}{TOPIC}-value") == LEVEL
    alone = fastavro.parse_schema(json.loads(latest.schema.schema_str or ""))
    assert alone == schemas.schema("person_change")
    assert codec.decode("person_change", data)["after"]["email"][0]["value"] == "jane@x.com"
    assert start.codec(registry).cdc(JANE, SEEN) == data


def test_old_bytes_stay_readable_beside_registered_ones(start: Starting, registry: str) -> None:
    """A hub that was given a registry reads what it wrote without; one that has none says so."""
    with_one, without = start.codec(registry), Codec()
    old, new = without.cdc(JANE, SEEN), with_one.cdc(JANE, SEEN)
    assert with_one.decode("person_change", old) == with_one.decode("person_change", new)
    with pytest.raises(Undecodable, match="any version"):
        without.decode("person_change", new)


def test_old_and_new_hubs_read_each_other(start: Starting, registry: str, tmp_path: Path) -> None:
    """Both run side by side: each reads the other's events in its own shape."""
    folder = evolution.newer(tmp_path, {"type": ["null", "string"], "default": None})
    old = start.codec(registry)
    new = start.codec(registry, folder)
    before = old.cdc(JANE, SEEN)
    told = new.decode("person_change", before)
    assert told["after"]["added"] is None
    told["after"]["added"] = "news"
    after = new.encode(TOPIC, "person_change", told)
    assert before[1:5] != after[1:5]
    assert new.decode("person_change", after) == told
    assert old.decode("person_change", after) == old.decode("person_change", before)


# -- versions, by the registry's own check ---------------------------------------------------------


def accepts(asked: SchemaRegistryClient, subject: str, one: Any, other: Any) -> bool:
    """Whether the registry lets one version follow another."""
    asked.set_compatibility(subject, LEVEL)
    asked.register_schema(subject, Schema(json.dumps(one), "AVRO"))
    try:
        asked.register_schema(subject, Schema(json.dumps(other), "AVRO"))
    except SchemaRegistryError as error:
        if error.http_status_code != httpx.codes.CONFLICT:
            raise
        return False
    return True


@pytest.mark.parametrize("name", schemas.PUBLISHED)
def test_the_registry_accepts_every_pair_of_versions(
    name: str, asked: SchemaRegistryClient, prefix: str
) -> None:
    """Whichever was registered first, every other version that was kept may follow."""
    files = sorted((schemas.SCHEMAS / "versions" / name).iterdir())
    found = [json.loads(f.read_text()) for f in files]
    assert schemas.whole(name) in found
    for n, (one, other) in enumerate(permutations([*found, schemas.whole(name)], 2)):
        assert accepts(asked, f"{prefix}{n}-value", one, other)


def test_the_registry_judges_as_the_generated_values_do(
    asked: SchemaRegistryClient, prefix: str
) -> None:
    """What is good to one check is good to the other, and what is bad is bad."""
    for n, (what, changed) in enumerate(evolution.good(PERSON)):
        assert accepts(asked, f"{prefix}good{n}-value", PERSON, changed), what
    for n, (what, changed) in enumerate(evolution.bad(PERSON)):
        assert not accepts(asked, f"{prefix}bad{n}-value", PERSON, changed), what


# -- what stops the start --------------------------------------------------------------------------


def register(hub: Hub) -> None:
    """What a start does with the registry."""
    wiring.register_topics(hub.codec, hub.systems.values())


@contextmanager
def refused(match: str, within: float = 10) -> Iterator[None]:
    """The start ends in time, with one sentence that says what to change."""
    begun = time.monotonic()
    with pytest.raises(settings.BadSettings, match=match) as caught:
        yield
    assert time.monotonic() - begun < within
    assert "\n" not in str(caught.value).strip()


def test_a_start_registers_every_topic(
    start: Starting, guarded: Gate, prefix: str, asked: SchemaRegistryClient
) -> None:
    """After it nothing that the hub writes needs the registry."""
    hub = start.hub(guarded.url)
    register(hub)
    own = {s for s in asked.get_subjects() if s.startswith(prefix)}
    topics = {f"cdc.crm.{o}" for o in hub.systems["crm"].specs} | {
        "golden.person",
        "golden.company",
    }
    assert own == {f"{prefix}{topic}-value" for topic in topics}
    guarded.closed = True
    for name, spec in hub.systems["crm"].specs.items():
        gone = ChangeSet(UID, 2, None, Golden(UID, spec.entity, (), {}), (), ())
        assert hub.codec.cdc(Record(UID, spec.entity, "crm", name, "7"), SEEN)[:1] == BY_ID
        assert hub.codec.golden(gone, 5)[:1] == BY_ID


@pytest.mark.parametrize("level", ["BACKWARD", "NONE"])
def test_another_compatibility_stops_the_start(
    start: Starting, level: str, registry: str, prefix: str, asked: SchemaRegistryClient
) -> None:
    """Somebody has decided otherwise: we do not overrule them, we say what we need."""
    subject = f"{prefix}golden.person-value"
    asked.register_schema(subject, Schema(json.dumps(PERSON), "AVRO"))
    asked.set_compatibility(subject, level)
    with refused(f"keeps {subject} {level}: set it to FULL_TRANSITIVE"):
        register(start.hub(registry))
    assert asked.get_compatibility(subject) == level


def test_another_schema_stops_the_start(
    start: Starting, registry: str, prefix: str, asked: SchemaRegistryClient
) -> None:
    """A subject that holds something else is left alone, and named."""
    subject = f"{prefix}golden.person-value"
    other = {"type": "record", "name": "Other", "fields": [{"name": "x", "type": "long"}]}
    asked.set_compatibility(subject, LEVEL)
    asked.register_schema(subject, Schema(json.dumps(other), "AVRO"))
    with refused(f"holds another schema under {subject}"):
        register(start.hub(registry))
    assert asked.get_versions(subject) == [1]


def test_a_version_that_old_readers_cannot_read_stops_the_start(
    start: Starting, registry: str, tmp_path: Path
) -> None:
    """Where a hub has registered its schemas, one with a field without default cannot start."""
    register(start.hub(registry))
    folder = evolution.newer(tmp_path, {"type": "string"})
    with refused("holds another schema under"):
        register(start.hub(registry, folder))


def test_nobody_at_the_address_stops_the_start(start: Starting) -> None:
    """Refused at once, or never answered: told within ten seconds, without what is secret."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with refused(f"127.0.0.1:{port} cannot be reached: check registry.url"):
            register(start.hub(f"http://127.0.0.1:{port}/path"))
    with refused(f"127.0.0.1:{port} cannot be reached: check registry.url"):
        register(start.hub(f"http://127.0.0.1:{port}"))


def test_what_is_no_registry_stops_the_start(start: Starting, registry: str, guarded: Gate) -> None:
    """The right server with a wrong path, and one whose registry is gone."""
    root, _, _ = registry.partition("/apis")
    with refused("does not answer as a schema registry does: check the path"):
        register(start.hub(f"{root}/nothing/here"))
    guarded.closed = True
    with refused("refuses"):
        register(start.hub(guarded.url))


# -- how it is reached -----------------------------------------------------------------------------

LOGIN = ("hub", "what:ever")


def started(folder: Path, prefix: str, **more: str) -> None:
    """The start of a hub's codec as hub.yaml asks for it, and its end."""
    found = settings.HubSettings(
        systems={"crm": settings.SystemSettings(vendor="hubspot")},
        kafka=settings.Kafka(bootstrap="127.0.0.1:9", prefix=prefix),
        postgres=settings.Postgres(url="postgresql://hub@127.0.0.1:9/hub"),
        registry=settings.Registry(**more),
    )
    systems = World({"crm": Profile()}).hub.systems.values()
    wiring.open_codec(found, systems, folder, Clock()).close()


def test_username_and_password_come_from_their_file(
    registry: str, prefix: str, tmp_path: Path
) -> None:
    """With them the hub starts; without them, or with others, it is told where they belong."""
    where = {"credentials": "secrets/registry"}
    file = tmp_path / where["credentials"]
    with before(registry, login=LOGIN) as made:
        with refused("does not exist: write the credentials there"):
            started(tmp_path, prefix, url=made.url, **where)
        settings.write_secrets(file, {"user": "hub"})
        with refused('expected {"username": …, "password": …}'):
            started(tmp_path, prefix, url=made.url, **where)
        for password in (LOGIN[1], "wrong"):
            file.write_text(json.dumps({"username": LOGIN[0], "password": password}))
            with contextlib.ExitStack() as stack:
                if password == "wrong":
                    stack.enter_context(refused("check username and password in registry.cred"))
                started(tmp_path, prefix, url=made.url, **where)
        with refused("check username and password in registry.credentials"):
            started(tmp_path, prefix, url=made.url)
        assert made.passed


def test_a_certificate_is_checked(registry: str, prefix: str, tmp_path: Path) -> None:
    """Only a registry whose certificate the named authority has signed is spoken to."""
    authority, server = certificates(tmp_path)
    with before(registry, pem=server) as made:
        assert made.url.startswith("https://")
        started(tmp_path, prefix, url=made.url, ca_file=authority.name)
        passed = len(made.passed)
        with refused("a certificate that is not trusted: name its signer in registry.ca_file"):
            started(tmp_path, prefix, url=made.url)
        with refused("registry.ca_file none.pem"):
            started(tmp_path, prefix, url=made.url, ca_file="none.pem")
        assert len(made.passed) == passed > 0


@pytest.mark.parametrize(
    "url", ["http://hub:secret@registry:8080/x", "registry:8080", "ftp://registry", "http://"]
)
def test_an_address_of_a_registry_holds_no_secret(url: str) -> None:
    """What is no address of the web, or holds a password, is refused with the settings."""
    with pytest.raises(ValidationError, match="expected http://host:port/path") as caught:
        settings.Registry(url=url)
    assert "secret" not in str(caught.value).partition("[type=")[0]


# -- what is read --------------------------------------------------------------------------------


def numbered(number: int, data: bytes = b"") -> bytes:
    """Bytes that say they were written with this id."""
    return BY_ID + number.to_bytes(4) + data


def test_an_unknown_id_is_asked_for_once_in_a_while(start: Starting, guarded: Gate) -> None:
    """What the registry does not know is undecodable, and costs no request each time."""
    codec = start.codec(guarded.url)
    for _ in range(3):
        with pytest.raises(Undecodable, match="no schema with id 2000000000"):
            codec.decode("person_change", numbered(2_000_000_000))
    assert len(guarded.passed) == 1
    start.clock.at = FORGET_MS
    with pytest.raises(Undecodable):
        codec.decode("person_change", numbered(2_000_000_000))
    assert len(guarded.passed) == 2


def test_without_the_registry_all_that_is_known_goes_on(
    start: Starting, guarded: Gate, registry: str, prefix: str, asked: SchemaRegistryClient
) -> None:
    """Events of known topics are written and read; an id that is new waits, and says why."""
    codec = start.codec(guarded.url)
    mine = codec.cdc(JANE, SEEN)
    other = Starting(f"{start.prefix}b.")
    same = other.codec(registry).cdc(JANE, SEEN)
    other.made[0].close()
    known = codec.decode("person_change", mine)
    subject = f"{prefix}x-value"
    changed = dict(evolution.good(PERSON))["field with default added"]
    fresh = asked.register_schema(subject, Schema(json.dumps(changed), "AVRO"))
    guarded.closed = True
    assert codec.cdc(JANE, SEEN) == mine
    assert codec.decode("person_change", mine) == known
    assert same[1:5] == mine[1:5], "the same schema is the same id in every subject"
    with pytest.raises(NoRegistry, match="refuses the schema with id"):
        codec.decode("person_change", numbered(fresh))
    begun = time.monotonic()
    with pytest.raises(NoRegistry):
        codec.decode("person_change", numbered(fresh))
    assert time.monotonic() - begun < 0.1, "it is not asked again at once"


def test_a_topic_that_is_new_waits_for_the_registry(start: Starting, guarded: Gate) -> None:
    """Its first event is not written; once the registry is back it is."""
    codec = start.codec(guarded.url)
    guarded.closed = True
    with pytest.raises(NoRegistry):
        codec.cdc(JANE, SEEN)
    guarded.closed = False
    assert codec.cdc(JANE, SEEN)[:1] == BY_ID


def test_nothing_is_set_aside_because_the_registry_is_gone(start: Starting, guarded: Gate) -> None:
    """Inputs wait while their outcome cannot be told, and are taken in once it can."""
    story = opening(lines_of("tools A B"), {})
    for line in ('A.jane name="Jane Doe" email=jane@x.com', "capture A"):
        step(story, line)
    hub = story.world.hub
    hub.codec = start.codec(guarded.url)
    guarded.closed = True
    with pytest.raises(NoRegistry):
        resolve.step(hub)
    assert inputs_of(story.world) == ["pending"]
    guarded.closed = False
    resolve.step(hub)
    assert inputs_of(story.world) == ["applied"]
    assert story.golden("A.jane").cell("email").value == "jane@x.com"


def inputs_of(world: World) -> list[str]:
    """How far every reading is."""
    readings = {"kind": "observation"}
    return [row["status"] for row in world.store.view(lambda rows: rows.select("input", readings))]


def test_a_registry_that_dies_and_comes_back_is_not_missed(
    start: Starting, own_registry: Callable[[], Part]
) -> None:
    """The process is killed: what is known goes on; started again, it knows what it knew."""
    part = own_registry()
    codec = start.codec(part.address)
    mine = codec.cdc(JANE, SEEN)
    known = codec.decode("person_change", mine)
    part.kill()
    assert codec.cdc(JANE, SEEN) == mine
    assert codec.decode("person_change", mine) == known
    with pytest.raises(NoRegistry, match="cannot be reached"):
        codec.golden(ChangeSet(UID, 2, None, Golden(UID, "person", (), {}), (), ()), 5)
    part.start()
    other = start.codec(part.address)
    assert other.cdc(JANE, SEEN) == mine
    assert other.decode("person_change", mine) == known
    assert codec.golden(ChangeSet(UID, 2, None, Golden(UID, "person", (), {}), (), ()), 5)


def test_what_cannot_be_read_is_refused(
    start: Starting, registry: str, prefix: str, asked: SchemaRegistryClient
) -> None:
    """Cut, corrupt, of another schema, or none of Avro's: refused with the reason."""
    codec = start.codec(registry)
    data = codec.cdc(JANE, SEEN)
    other = json.dumps({"type": "record", "name": "X", "fields": [{"name": "x", "type": "long"}]})
    avro = asked.register_schema(f"{prefix}x-value", Schema(other, "AVRO"))
    plain = asked.register_schema(f"{prefix}y-value", Schema(JSON, "JSON"))
    bad = [data[:n] for n in (0, 1, 3, 5, 9, len(data) - 1)]
    bad += [data + b"x", data[:5] + b"\xff" * 40, b"\x01" + data[1:]]
    bad += [numbered(avro, b"\x02"), numbered(plain, b"{}")]
    for broken in bad:
        with pytest.raises(Undecodable):
            codec.decode("person_change", broken)
