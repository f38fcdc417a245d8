"""The real parts that tests ask for, and what happens where one cannot be had.

`kafka`, `registry` and `postgres` are addresses: of the environment (HUB_TEST_KAFKA, …), else of
containers where a Docker engine answers, else of processes of this machine (deploy/local). All
workers of a run share one of each, so a test names its own topics and subjects; its database is
fresh. `own_kafka`, `own_registry` and `own_postgres` start a process for one test, which may stop,
kill and start it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from docker.errors import DockerException
from filelock import FileLock

from deploy.local.parts import Kafka, Part, Postgres, Registry
from deploy.local.process import Missing
from tests import containers

P = TypeVar("P", bound=Part)


def lacking(part: str, why: str) -> NoReturn:
    """Skip for want of a real part (browser, kafka, …); fail where HUB_TEST_REQUIRE names it."""
    wanted = os.environ.get("HUB_TEST_REQUIRE", "").split(",")
    if part in (w.strip() for w in wanted):
        pytest.fail(f"HUB_TEST_REQUIRE wants {part}: {why}")
    pytest.skip(why)


# -- one of each for all ---------------------------------------------------------------------------
@pytest.fixture(scope="session")
def kafka(shared: Shared) -> str:
    """The bootstrap address of a broker that makes no topic by itself."""
    return shared.address("kafka", containers.kafka, Kafka)


@pytest.fixture(scope="session")
def registry(shared: Shared) -> str:
    """The URL of a Confluent-compatible schema registry."""
    return shared.address("registry", containers.registry, Registry)


@pytest.fixture(scope="session")
def postgres_server(shared: Shared) -> str:
    """The address of a server, as somebody who may make databases."""
    return shared.address("postgres", containers.postgres, Postgres)


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The address of an empty database."""
    with database(postgres_server) as address:
        yield address


@contextmanager
def database(server: str) -> Iterator[str]:
    """The address of an empty database, for any scope; dropped afterwards, whoever uses it."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)".encode())


class Shared:
    """What the workers of one run share, by files in the folder that pytest gives the run.

    Whoever needs a part first starts it, and stops it when the last has let go: each worker holds a
    shared lock on `users` until it ends. A worker that dies takes its parts along.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.started = ExitStack()
        self.users = (folder / "users").open("w")
        fcntl.flock(self.users, fcntl.LOCK_SH)

    def address(
        self, name: str, container: Callable[[], AbstractContextManager[str]], local: type[Part]
    ) -> str:
        """Of the part of this name, which is started when nobody has."""
        if named := os.environ.get(f"HUB_TEST_{name.upper()}"):
            return named
        told = self.folder / f"{name}.address"
        with FileLock(self.folder / f"{name}.lock"), wanting(name):
            if not told.exists():
                made = container() if containers.engine_answers() else here(local, self.folder)
                told.write_text(self.started.enter_context(made))
                self.started.callback(told.unlink)
            return told.read_text()

    def close(self) -> None:
        """Let go, wait until the others have, and stop what was started here."""
        fcntl.flock(self.users, fcntl.LOCK_UN)
        with self.users, self.started:
            fcntl.flock(self.users, fcntl.LOCK_EX)


@contextmanager
def wanting(part: str) -> Iterator[None]:
    """Where the machine lacks what is started inside, the test is skipped.

    A part that could be had and does not start is an error: somebody has to see it.
    """
    try:
        yield
    except (Missing, DockerException) as error:
        lacking(part, str(error))


@contextmanager
def here(local: type[Part], folder: Path) -> Iterator[str]:
    """The address of a process of this machine, of which nothing is left afterwards."""
    part = local(folder / local.name)
    try:
        yield part.start().address
    finally:
        part.kill()
        shutil.rmtree(part.folder)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Shared:
    """What is shared, until the worker ends: after its last test, whose time does not count it."""
    base = tmp_path_factory.getbasetemp()
    made = Shared((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "services")
    pytestconfig.add_cleanup(made.close)
    return made


# -- one for a test that breaks it -----------------------------------------------------------------
@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Callable[..., Kafka]]:
    """Starts brokers; takes what `Kafka` takes beside its folder."""
    with owned(Kafka, tmp_path) as start:
        yield start


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Starts registries."""
    with owned(Registry, tmp_path) as start:
        yield start


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Callable[..., Postgres]]:
    """Starts servers; takes what `Postgres` takes beside its folder."""
    with owned(Postgres, tmp_path) as start:
        yield start


@contextmanager
def owned(kind: type[P], folder: Path) -> Iterator[Callable[..., P]]:
    """What starts parts of a kind that live as long as this; their logs stay."""
    with ExitStack() as stack:

        def start(**options: Any) -> P:
            number = len(list(folder.glob(f"{kind.name}*")))
            part = kind(folder / f"{kind.name}{number}", **options)
            stack.callback(shutil.rmtree, part.folder / "data", ignore_errors=True)
            stack.callback(part.kill)
            with wanting(kind.name):
                return part.start()

        yield start


def certificates(folder: Path) -> tuple[Path, Path]:
    """For TLS at 127.0.0.1: the file of an authority, and a server's key and certificate in one."""
    authority, server = folder / "authority.pem", folder / "server.pem"
    made = trustme.CA()
    issued = made.issue_cert("127.0.0.1")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # the one that Java reads
    made.cert_pem.write_to_path(authority)
    server.write_bytes(key.private_bytes(*form) + issued.cert_chain_pems[0].bytes())
    return authority, server
