"""The real parts of the tests themselves: they answer, come back with their data, and are gone."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaTimeoutError

from deploy.local.parts import Kafka, NotStarted, Part, Postgres, Registry
from deploy.local.process import bound, is_alive
from tests.end_to_end.conftest import ENV, wait
from tests.services import certificates, database

PARTS: list[type[Part]] = [Kafka, Registry, Postgres]
AVRO = {"schema": '{"type": "string"}'}


def topics(bootstrap: str) -> list[str]:
    """What kafka-python sees there."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        return list(admin.list_topics())
    finally:
        admin.close()


def make_topic(bootstrap: str, name: str) -> None:
    """One of one partition."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        admin.close()


def test_kafka_answers(kafka: str) -> None:
    """The broker of all tests takes a topic and shows it."""
    make_topic(kafka, "services.answers")
    assert "services.answers" in topics(kafka)


def test_registry_answers(registry: str) -> None:
    """The registry of all tests takes a schema and shows its subject."""
    made = httpx.post(f"{registry}/subjects/services-value/versions", json=AVRO, trust_env=False)
    assert made.status_code == 200
    assert "services-value" in httpx.get(f"{registry}/subjects", trust_env=False).json()


def test_postgres_answers(postgres: str) -> None:
    """The database of a test is empty, of a supported version, and written through to the disk."""
    with psycopg.connect(postgres) as connection:
        tables = "select count(*) from pg_tables where schemaname = 'public'"
        assert connection.execute(tables).fetchone() == (0,)
        assert connection.info.server_version >= 150000
        assert connection.execute("show fsync").fetchone() == ("on",)


def test_a_database_is_dropped_under_its_users(postgres_server: str) -> None:
    """A test that leaves a connection open leaves no database behind."""
    with database(postgres_server) as address:
        left = psycopg.connect(address)
        name = left.info.dbname
    left.close()
    with psycopg.connect(postgres_server) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [name])
        assert found.fetchone() is None


def test_kafka_comes_back(own_kafka: Callable[..., Kafka]) -> None:
    """A broker that was stopped, and one that was killed, has its messages at the same address."""
    one = own_kafka()
    address = one.address
    make_topic(address, "kept")
    for ending in (one.stop, one.kill):
        produced(address, "kept", ending.__name__.encode())
        ending()
        assert not one.runs
        one.start()
    assert one.address == address
    assert consumed(address, "kept", 2) == [b"stop", b"kill"]


def produced(bootstrap: str, topic: str, value: bytes) -> None:
    """One message, acknowledged."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    producer.send(topic, value).get(20)
    producer.close()


def consumed(bootstrap: str, topic: str, how_many: int) -> list[bytes]:
    """The first messages of a topic."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest",
        consumer_timeout_ms=20_000)  # fmt: skip
    try:
        return [next(consumer).value for _ in range(how_many)]
    finally:
        consumer.close()


def test_registry_comes_back(own_registry: Callable[..., Registry]) -> None:
    """A registry that was stopped, and one that was killed, has its schemas at the same address."""
    one = own_registry()
    subjects = f"{one.address}/subjects"
    for ending in (one.stop, one.kill):
        httpx.post(f"{subjects}/{ending.__name__}/versions", json=AVRO, trust_env=False)
        ending()
        one.start()
    assert sorted(httpx.get(subjects, trust_env=False).json()) == ["kill", "stop"]


def test_postgres_comes_back(own_postgres: Callable[..., Postgres]) -> None:
    """A server that was stopped, and one that was killed, has its rows at the same address."""
    one = own_postgres()
    with psycopg.connect(one.address) as connection:
        connection.execute("create table kept (how text)")
    for ending in (one.stop, one.kill):
        with psycopg.connect(one.address) as busy:
            busy.execute("insert into kept values (%s)", [ending.__name__])
            busy.commit()
            ending()
        one.start()
    with psycopg.connect(one.at_socket) as connection:
        kept = connection.execute("select how from kept order by how").fetchall()
    assert kept == [("kill",), ("stop",)]


def test_kafka_takes_settings_and_listeners(
    own_kafka: Callable[..., Kafka], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A further listener with TLS and a password lets in who has both, and nobody without."""
    authority, server = certificates(tmp_path)
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    one = own_kafka(
        listeners={"SAFE": "SASL_SSL"},
        settings={
            "listener.name.safe.ssl.keystore.type": "PEM",
            "listener.name.safe.ssl.keystore.location": str(server),
            "listener.name.safe.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.safe.plain.sasl.jaas.config": f'{login} user_hub="secret";',
        },
    )
    make_topic(one.address, "guarded")
    assert "guarded" in topics_of("hub", "secret", one, authority)
    with pytest.raises(KafkaTimeoutError):
        topics_of("hub", "wrong", one, authority)
    assert "Authentication failed: Invalid username or password" in caplog.text


def topics_of(user: str, password: str, broker: Kafka, authority: Path) -> list[str]:
    """What somebody sees at the listener SAFE."""
    admin = KafkaAdminClient(
        bootstrap_servers=broker.at("SAFE"), security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN", sasl_plain_username=user, sasl_plain_password=password,
        ssl_cafile=str(authority), bootstrap_timeout_ms=5_000)  # fmt: skip
    try:
        return list(admin.list_topics())
    finally:
        admin.close()


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.name)
def test_a_taken_port_is_told(kind: type[Part], tmp_path: Path) -> None:
    """A part whose port somebody has taken says which, and does not start."""
    one = kind(tmp_path)
    port = next(iter(one.ports.values()))
    with socket.create_server(("127.0.0.1", port)), pytest.raises(NotStarted, match=str(port)):
        one.start()
    assert not one.runs


def test_postgres_shows_its_words(own_postgres: Callable[..., Postgres]) -> None:
    """A server that refuses a setting is not waited for, and its own words are in the error."""
    one = own_postgres()
    one.stop()
    one.settings["max_connections"] = "none"
    with pytest.raises(NotStarted, match='parameter "max_connections"'):
        one.start()


def test_kafka_shows_its_words(own_kafka: Callable[..., Kafka]) -> None:
    """A broker that refuses a setting is not waited for, and its own words are in the error."""
    one = own_kafka()
    one.stop()
    one.settings["num.partitions"] = "none"
    with pytest.raises(NotStarted, match=r"Invalid value none for configuration num\.partitions"):
        one.start()


def test_what_a_machine_lacks_is_told(tmp_path: Path) -> None:
    """Without Java the broker's error says what to install."""
    script = "from deploy.local import fetched; fetched.java()"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], env={**ENV, "PATH": str(tmp_path)}, capture_output=True,
        text=True, check=False)  # fmt: skip
    assert "Java 17 or newer is needed, found none" in done.stderr


# Starts a part that was prepared before, says which processes there are, and ends as it is told.
STARTS = """
import sys
from pathlib import Path
from deploy.local import parts, process
part = getattr(parts, sys.argv[1])(Path(sys.argv[2])).start()
print(part.pid, *process.children(part.pid), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("kind", "ending"),
    [(Kafka, "killed"), (Registry, "killed"), (Postgres, "killed"), (Postgres, "forgetful")],
)
def test_nothing_outlives_whoever_started_it(
    kind: type[Part], ending: str, request: pytest.FixtureRequest
) -> None:
    """The servers of a process end with it, when it is killed and when it does not stop them."""
    if not bound():
        pytest.skip("there is no setpriv here: only who ends in good order stops the parts")
    one = request.getfixturevalue(f"own_{kind.name}")()
    one.stop()
    words = [sys.executable, "-c", STARTS, kind.__name__, str(one.folder)]
    with subprocess.Popen(  # noqa: S603
        words, env=ENV, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout
        assert starter.stdin
        family = [int(pid) for pid in starter.stdout.readline().split()]
        assert is_alive(family[0])
        starter.kill() if ending == "killed" else starter.stdin.close()
    assert wait(lambda: not any(map(is_alive, family)), 10)
