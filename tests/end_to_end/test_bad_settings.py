"""What is wrong with one of the three parts stops the start in time, and says what to change."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import httpx
import orjson
import psycopg
import pytest
from typer.testing import CliRunner

from hub.cli import app
from tests.end_to_end.cluster import addresses
from tests.end_to_end.conftest import Site

SECONDS = 10
COMMANDS = {"up": 2, "resolve": 2, "check": 1}  # and how each of them ends


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens, and nobody else will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections, and never says a word."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(64)
        yield held.getsockname()[1]


@pytest.fixture
def good(postgres: str, kafka: str, registry: str) -> dict[str, str]:
    """Parts that can be used."""
    return {"postgres": postgres, "kafka": kafka, "registry": registry}


def refused(site: Site, parts: dict[str, str], why: str, *, but: str = "") -> None:
    """Every command ends in time, with this sentence, and without a traceback."""
    addresses(site.folder.path, **parts)
    for word, ends in ((w, e) for w, e in COMMANDS.items() if w != but):
        begun = time.monotonic()
        done = CliRunner().invoke(app, [word, "--dir", str(site.folder.path)])
        assert time.monotonic() - begun < SECONDS, word
        assert (done.exit_code, type(done.exception)) == (ends, SystemExit), done.output
        assert why in " ".join(done.output.split()), (word, done.output)


ADDRESSES = {
    "postgres": ("postgresql://hub@127.0.0.1:{}/x", "check postgres.url"),
    "kafka": ("127.0.0.1:{}", "kafka.bootstrap"),
    "registry": ("http://127.0.0.1:{}/x", "check registry.url"),
}


@pytest.mark.parametrize("part", ADDRESSES)
@pytest.mark.parametrize("who", ["nobody", "silent"])
def test_a_wrong_address(
    request: pytest.FixtureRequest,
    make_site: Callable[..., Site],
    good: dict[str, str],
    part: str,
    who: str,
) -> None:
    """Of each part; where nobody listens, and where nobody answers."""
    address, why = ADDRESSES[part]
    wrong = {part: address.format(request.getfixturevalue(who))}
    refused(make_site(2), good | wrong, why, but="resolve" if who == "silent" else "")


def test_a_registry_of_another_compatibility(
    make_site: Callable[..., Site], good: dict[str, str]
) -> None:
    """Somebody has decided otherwise about one topic."""
    site = make_site(2)
    prefix = f"p{uuid.uuid4().hex[:8]}."
    subject = f"{prefix}cdc.hubspot.contacts-value"
    level = {"compatibility": "BACKWARD"}
    set_to = httpx.put(f"{good['registry']}/config/{subject}", json=level, trust_env=False)
    assert set_to.is_success
    named = {**good, "prefix": prefix}
    refused(site, named, f"set it to FULL_TRANSITIVE (PUT /config/{subject})")


# -- PostgreSQL ------------------------------------------------------------------------------------


@contextmanager
def user(postgres: str) -> Iterator[tuple[str, str]]:
    """Somebody who may connect, and nothing else: name and password."""
    name, password = f"u_{urlsplit(postgres).path[1:]}", "a-password"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        try:
            yield name, password
        finally:
            admin.execute(f"DROP OWNED BY {name}".encode())
            admin.execute(f"DROP ROLE {name}".encode())


def signed_in(site: Site, postgres: str, name: str, password: str) -> dict[str, str]:
    """The same database, as somebody else; the password lies in a file."""
    secret = site.folder.path / "secrets" / "postgres"
    secret.touch(mode=0o600)
    secret.write_bytes(orjson.dumps({"password": password}))
    at = urlsplit(postgres)
    url = f"postgresql://{name}@{at.hostname}:{at.port}{at.path}"
    return {"postgres": f"{url}\n  credentials: secrets/postgres"}


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("another-password", "check postgres.url and its credentials"),
        ("a-password", "GRANT CREATE ON DATABASE"),
    ],
)
def test_somebody_who_may_not(
    make_site: Callable[..., Site], good: dict[str, str], password: str, why: str
) -> None:
    """A wrong password, and a right one of somebody who may make no tables."""
    site = make_site(2)
    with user(good["postgres"]) as (name, _):
        refused(site, {**good, **signed_in(site, good["postgres"], name, password)}, why)


def test_who_owns_the_schema_needs_no_more(
    make_site: Callable[..., Site], good: dict[str, str]
) -> None:
    """As the sentence says; of a schema of somebody else only they may make tables."""
    site = make_site(2)
    with user(good["postgres"]) as (name, password):
        theirs = {**good, **signed_in(site, good["postgres"], name, password)}
        with psycopg.connect(good["postgres"], autocommit=True) as admin:
            admin.execute(b"CREATE SCHEMA synchub")
            admin.execute(f"GRANT USAGE ON SCHEMA synchub TO {name}".encode())
            refused(site, theirs, "let the user own the schema")
            admin.execute(f"ALTER SCHEMA synchub OWNER TO {name}".encode())
        assert site.call("migrate-store").returncode == 0
        done = site.call("check")
        assert done.returncode == 0, done.stdout


def test_a_database_in_another_encoding(
    make_site: Callable[..., Site], good: dict[str, str]
) -> None:
    """Not every text can be kept there."""
    at = urlsplit(good["postgres"])
    name = f"{at.path[1:]}_odd"
    with psycopg.connect(good["postgres"], autocommit=True) as admin:
        made = f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        admin.execute(made.encode())
        try:
            odd = at._replace(path=f"/{name}").geturl()
            refused(make_site(2), {**good, "postgres": odd}, "encoded in LATIN1")
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_server_that_is_too_old(make_site: Callable[..., Site], good: dict[str, str]) -> None:
    """It is told before anything is asked of it."""
    with server(b"14.9") as port:
        old = {"postgres": f"postgresql://hub@127.0.0.1:{port}/x?sslmode=disable"}
        refused(make_site(2), {**good, **old}, "PostgreSQL 14: 15 or newer is needed")


@contextmanager
def server(version: bytes) -> Iterator[int]:
    """The port of a server that says this of itself, and lets everybody in."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=greet, args=(listening, version), daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def greet(listening: socket.socket, version: bytes) -> None:
    """Answer each start of a session, as the protocol has it."""
    told = {b"server_version": version, b"server_encoding": b"UTF8", b"client_encoding": b"UTF8"}
    answer = message(b"R", bytes(4))
    for name, value in told.items():
        answer += message(b"S", name + b"\0" + value + b"\0")
    answer += message(b"K", bytes(8)) + message(b"Z", b"I")
    while True:
        try:
            session, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=answered, args=(session, answer), daemon=True).start()


def answered(session: socket.socket, answer: bytes) -> None:
    """Let one in, and wait until they leave."""
    with closing(session):
        session.recv(4096)
        session.sendall(answer)
        while session.recv(4096):
            pass


def message(kind: bytes, body: bytes) -> bytes:
    """A message of the protocol."""
    return kind + (len(body) + 4).to_bytes(4) + body
