"""Kafka, a schema registry and PostgreSQL, each in a folder of its own.

A part that was stopped or killed starts again on the same folder at the same address, also from
another process: its ports are kept in the folder. Whether it is ready is asked of itself.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import quote

import httpx
import psycopg
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.local import fetched
from deploy.local.process import begun, ended, free_port, is_taken, killed, unprivileged, until

SECONDS_TO_START = 60

# Kafka's settings where there is one node only, which has the one copy of everything.
OF_ONE_NODE = {
    # topics are made on purpose, with settings: never because somebody named one
    "auto.create.topics.enable": "false",
    # few partitions of Kafka's own topics are made sooner
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    # a killed broker comes back when the controller has noticed that it was gone
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


class NotStarted(RuntimeError):
    """A part did not come up; the text holds the end of what it said."""


class Part(ABC):
    """One server: `start` waits until it answers, `stop` is in good order, `kill` is -9."""

    name: ClassVar[str]
    listeners: tuple[str, ...] = ("MAIN",)
    stopped_by: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.log = self.folder / f"{self.name}.log"
        self.ports = self._ports()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """What its clients are given."""

    @abstractmethod
    def command(self) -> list[str]:
        """How it is started, in its folder."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves a client."""

    def prepare(self) -> None:  # noqa: B027  # most need nothing
        """Whatever is to be done before it can start."""

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of its process, which is or was there."""
        assert self._process, f"{self.name} was never started"  # noqa: S101
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it answers; Missing or NotStarted says why it does not."""
        for port in self.ports.values():
            if is_taken(port):
                raise NotStarted(
                    f"{self.name}: port {port} is taken; end what listens there, or remove "
                    f"{self._ports_file} for another"
                )
        self.prepare()
        self._process = begun(self.command(), self.folder, self.log)
        if not until(self.answers, SECONDS_TO_START, self._process):
            ending = self._process.poll()
            self.kill()
            self.fail("does not answer" if ending is None else f"ended with {ending}")
        return self

    def fail(self, how: str) -> None:
        """Raise what happened, with the end of the log."""
        said = self.log.read_text(errors="replace").splitlines()[-20:]
        raise NotStarted(f"{self.name} {how}; {self.log} ends with:\n" + "\n".join(said))

    def stop(self) -> None:
        """In good order; it is gone when this returns."""
        if self._process and self.runs:
            ended(self._process, self.stopped_by)

    def kill(self) -> None:
        """Without a warning; it is gone when this returns."""
        if self._process:
            killed(self._process)

    def run(self, *command: str) -> None:
        """A command of the part that ends by itself, its words in the log."""
        process = begun(command, self.folder, self.log)
        if process.wait(SECONDS_TO_START):
            self.fail(f"could not be prepared ({Path(command[0]).name})")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    def _ports(self) -> dict[str, int]:
        """The ports of an earlier start, and free ones for listeners that it did not have."""
        known = json.loads(self._ports_file.read_text()) if self._ports_file.exists() else {}
        ports = {listener: known.get(listener) or free_port() for listener in self.listeners}
        self._ports_file.write_text(json.dumps(ports))
        return ports


class Kafka(Part):
    """One node of Apache Kafka, broker and controller at once.

    `settings` are added to its server.properties, and win there. `listeners` are further ones,
    name → security protocol, as {"SAFE": "SASL_SSL"}: `at("SAFE")` is where it listens.
    """

    name = "kafka"

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        self.protocols = {"PLAIN": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(listeners or {})}
        self.listeners = tuple(self.protocols)
        self.settings = dict(settings or {})
        super().__init__(folder)

    @property
    def address(self) -> str:
        """Host and port, without TLS or a password."""
        return self.at("PLAIN")

    def at(self, listener: str) -> str:
        """Host and port of one of its listeners."""
        return f"127.0.0.1:{self.ports[listener]}"

    def command(self) -> list[str]:
        """The broker."""
        return [*self._java("-Xmx512m"), "kafka.Kafka", "server.properties"]

    def prepare(self) -> None:
        """Its properties each time, its storage once."""
        (self.folder / "server.properties").write_text(self.properties())
        if not (self.folder / "data" / "meta.properties").exists():
            self.run(
                *self._java("-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format",
                f"--cluster-id={secrets.token_urlsafe(16)}", "-c", "server.properties",
                "--standalone",
                "--ignore-formatted")  # fmt: skip

    def answers(self) -> bool:
        """Whether it names itself as one of the cluster."""
        if not is_taken(self.ports["PLAIN"]):
            return False  # asked so as not to hear the client complain
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.address)
        except KafkaError:
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        except KafkaError:
            return False
        finally:
            admin.close()

    def properties(self) -> str:
        """Its server.properties."""
        clients = ",".join(f"{name}://{self.at(name)}" for name in self.listeners)
        found = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": self.at("CONTROLLER"),
            "listeners": clients,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in self.protocols.items()
            ),
            "log.dirs": str(self.folder / "data"),
            **OF_ONE_NODE,
        } | self.settings
        return "".join(f"{key}={value}\n" for key, value in found.items())

    def _java(self, *options: str) -> list[str]:
        log = ("defaultLogLevel=warn", "showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS")
        return [
            fetched.java(), *options, *(f"-Dorg.slf4j.simpleLogger.{setting}" for setting in log),
            "-cp", f"{fetched.libraries()}/kafka/*",
        ]  # fmt: skip


class Registry(Part):
    """Apicurio Registry, which speaks the Confluent API; its schemas are kept in a file."""

    name = "registry"

    @property
    def address(self) -> str:
        """The URL of its Confluent API."""
        return f"http://127.0.0.1:{self.ports['MAIN']}/apis/ccompat/v7"

    def command(self) -> list[str]:
        """The program, small: it holds few schemas."""
        (program,) = (fetched.libraries() / "registry").glob("*-runner.jar")
        return [
            fetched.java(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.ports['MAIN']}",
            "-Dapicurio.storage.sql.kind=h2",
            f"-Dapicurio.datasource.url=jdbc:h2:file:{self.folder / 'data'};WRITE_DELAY=0",
            "-jar", str(program),
        ]  # fmt: skip

    def answers(self) -> bool:
        """Whether it tells its subjects."""
        try:
            return httpx.get(f"{self.address}/subjects", trust_env=False).is_success
        except httpx.TransportError:
            return False


class Postgres(Part):
    """PostgreSQL with its own defaults, fsync included. Its superuser is postgres.

    It listens at 127.0.0.1, for whoever has the password (which is in a file that the address
    names), and at a socket in its folder, for whoever may enter that.
    """

    name = "postgres"
    stopped_by = signal.SIGINT  # does not wait until every client has gone

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.settings = dict(settings or {})
        super().__init__(folder)

    @property
    def address(self) -> str:
        """A URL that holds no password."""
        passfile = quote(str(self.folder / "pgpass"))
        return f"postgresql://postgres@127.0.0.1:{self.ports['MAIN']}/postgres?passfile={passfile}"

    @property
    def at_socket(self) -> str:
        """Its address at the socket."""
        folder = quote(str(self.folder / "data"), safe="")
        return f"postgresql://postgres@/postgres?host={folder}&port={self.ports['MAIN']}"

    def prepare(self) -> None:
        """A cluster with a password, once."""
        if (self.folder / "data" / "PG_VERSION").exists():
            return
        password = secrets.token_urlsafe(16)
        for file, text in (("password", password), ("pgpass", f"*:*:*:*:{password}")):
            (self.folder / file).touch(mode=0o600)
            (self.folder / file).write_text(f"{text}\n")
        self.run(
            *unprivileged(), str(fetched.postgres() / "initdb"), "-D", "data", "-U", "postgres",
            "--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256",
            "--pwfile=password")  # fmt: skip

    def command(self) -> list[str]:
        """The server, in the foreground."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.ports["MAIN"]),
            "unix_socket_directories": ".",  # however long the path of the folder is
            "max_connections": "200",
        } | self.settings
        return [
            *unprivileged(), str(fetched.postgres() / "postgres"), "-D", "data",
            *(word for key, value in settings.items() for word in ("-c", f"{key}={value}")),
        ]  # fmt: skip

    def answers(self) -> bool:
        """Whether it lets us in."""
        try:
            psycopg.connect(self.address, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
