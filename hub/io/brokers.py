"""The brokers of Apache Kafka: how they are reached by both clients, and the topics they hold.

What goes through the log goes through confluent-kafka. Topics are made and checked, and ends are
told, by kafka-python: two clients that share no code, so neither's reading of the protocol is
taken for granted.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, OffsetSpec
from kafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)
from kafka.protocol.consumer import IsolationLevel

from connectors._kit.source import PROTOCOL
from hub.io.log import LogDown, Offsets, Place
from hub.settings import BadSettings, Kafka, read_secrets

PATIENCE_MS = 3_000  # what is wrong with the brokers is said well within ten seconds
HOUR_MS = 3_600_000


def data_client(kafka: Kafka, folder: Path) -> dict[str, Any]:
    """How confluent-kafka reaches the brokers. Raises `BadSettings`."""
    found = {
        "bootstrap.servers": kafka.bootstrap,
        "security.protocol": PROTOCOL[kafka.security],
        "ssl.ca.location": _file(folder, kafka.ca_file),
        "ssl.certificate.location": _file(folder, kafka.cert_file),
        "ssl.key.location": _file(folder, kafka.key_file),
        "allow.auto.create.topics": False,
    }
    if kafka.security.startswith("sasl"):
        user, password = _user(kafka, folder)
        found |= {"sasl.mechanism": kafka.sasl, "sasl.username": user, "sasl.password": password}
    return {name: value for name, value in found.items() if value != ""}


def admin_client(kafka: Kafka, folder: Path) -> dict[str, Any]:
    """How kafka-python reaches the same brokers. Raises `BadSettings`."""
    found: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap.split(","),
        "security_protocol": PROTOCOL[kafka.security],
        "ssl_cafile": _file(folder, kafka.ca_file),
        "ssl_certfile": _file(folder, kafka.cert_file),
        "ssl_keyfile": _file(folder, kafka.key_file),
    }
    if kafka.security.startswith("sasl"):
        user, password = _user(kafka, folder)
        found |= {"sasl_mechanism": kafka.sasl}
        found |= {"sasl_plain_username": user, "sasl_plain_password": password}
    return {name: value for name, value in found.items() if value != ""}


def _file(folder: Path, name: str) -> str:
    """The path of a file beside hub.yaml, "" where none is named."""
    if name and not (folder / name).is_file():
        raise BadSettings(f"kafka: {folder / name} does not exist, or is no file")
    return str(folder / name) if name else ""


def _user(kafka: Kafka, folder: Path) -> tuple[str, str]:
    """Who signs in, and with what."""
    found = read_secrets(folder / kafka.credentials)
    if missing := {"username", "password"} - found.keys():
        raise BadSettings(f"{folder / kafka.credentials}: {', '.join(sorted(missing))} is missing")
    return found["username"], found["password"]


class Brokers:
    """What is asked of the brokers beside messages; any thread may ask.

    Names of topics are those of the hub, without the prefix. Every method raises `LogDown`.
    """

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        """Nothing is asked yet. Raises `BadSettings`."""
        self.kafka = kafka
        self._data = data_client(kafka, folder)
        self._how = admin_client(kafka, folder)
        self._where = f"kafka.bootstrap {kafka.bootstrap}"

    # -- topics ------------------------------------------------------------------------------------

    def make(self, topics: Iterable[str]) -> None:
        """Make those of these topics that are missing."""
        with self._asking() as admin:
            known = set(admin.list_topics())
            missing = [topic for topic in topics if self._called(topic) not in known]
            wanted = {self._called(topic): self._new(topic) for topic in missing}
            if wanted:
                for told in admin.create_topics(wanted, raise_errors=False)["topics"]:
                    self._made(told)
                admin.wait_for_topics(list(wanted))

    def _new(self, topic: str) -> dict[str, Any]:
        return {
            "num_partitions": self.kafka.partitions,
            "replication_factor": self.kafka.replication,
            "configs": self._configs(topic),
        }

    def _configs(self, topic: str) -> dict[str, str]:
        """How a topic is kept: golden records for good, each in its last version; else a while."""
        if topic.startswith("golden."):
            return {"cleanup.policy": "compact"}
        kept = self.kafka.retention_hours * HOUR_MS
        return {"cleanup.policy": "delete", "retention.ms": str(kept)}

    def _made(self, told: Mapping[str, Any]) -> None:
        """Raise `LogDown` where a topic could not be made; that it exists is as good."""
        error = for_code(told["error_code"])
        name, why = told["name"], told["error_message"] or error.__name__
        if not told["error_code"] or error is TopicAlreadyExistsError:
            return
        if error is InvalidReplicationFactorError:
            raise LogDown(
                f"kafka.replication is {self.kafka.replication}, more than there are brokers: set "
                f"it lower in hub.yaml, or start more of them ({why})"
            )
        raise LogDown(f"topic {name} cannot be made: {advice_on(error.__name__)} ({why})")

    def differences(self, topics: Collection[str]) -> list[str]:
        """A sentence for each topic that is not as hub.yaml says; nothing is changed."""
        with self._asking() as admin:
            told = {t["name"]: t for t in admin.describe_topics(list(map(self._called, topics)))}
            configs = admin.describe_configs(
                [
                    ConfigResource("topic", self._called(t), dict.fromkeys(self._configs(t)))
                    for t in topics
                ],
                config_filter="all",
            ).get("topic", {})
        found = []
        for topic in topics:
            name = self._called(topic)
            wanted, have = self._wanted(topic), described(told[name], configs.get(name, {}))
            wrong = [f"{k} is {have[k]}, not {wanted[k]}" for k in wanted if have[k] != wanted[k]]
            found += [f"topic {name}: {', '.join(wrong)}"] if wrong else []
        return found

    def _wanted(self, topic: str) -> dict[str, str]:
        """The settings of a topic in hub.yaml."""
        counted = {"partitions": self.kafka.partitions, "replication": self.kafka.replication}
        return {**{k: str(n) for k, n in counted.items()}, **self._configs(topic)}

    # -- ends --------------------------------------------------------------------------------------

    def ends(self, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """The first offset that each partition still has, and the one that it gives next.

        A partition that is not there has none.
        """
        with self._asking() as admin:
            there = self._there(admin, list(places))
            first, next_one = (
                self._offsets(admin, there, which)
                for which in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            )
        return {place: (first[place], next_one[place]) for place in there}

    def _there(self, admin: KafkaAdminClient, places: list[Place]) -> list[Place]:
        names = sorted({self._called(topic) for topic, _ in places})
        told = admin.describe_topics(names) if names else []
        counts = {one["name"]: len(one["partitions"]) for one in told}
        return [(t, n) for t, n in places if n < counts.get(self._called(t), 0)]

    def _offsets(self, admin: KafkaAdminClient, places: list[Place], which: Any) -> Offsets:
        asked = {TopicPartition(self._called(t), n): which for t, n in places}
        committed = IsolationLevel.READ_COMMITTED
        found = admin.list_partition_offsets(asked, committed) if asked else {}
        return {place: found[one].offset for place, one in zip(places, asked, strict=True)}

    # -- asking ------------------------------------------------------------------------------------

    def answer(self) -> None:
        """Raise `LogDown` where nobody listens."""
        if not any(map(listens, self.kafka.bootstrap.split(","))):
            raise LogDown(f"{self._where}: nobody listens there; start them, or correct it")

    @contextmanager
    def _asking(self) -> Iterator[KafkaAdminClient]:
        """A connection for some questions; one that is kept goes on looking for lost brokers.

        Before it is made the other client, which tells more, says what is wrong.
        """
        self.answer()
        if found := stumbled(self._data):
            raise LogDown(f"{self._where}: somebody listens, but {advice_on(found)}")
        limits = {"bootstrap_timeout_ms": PATIENCE_MS, "request_timeout_ms": PATIENCE_MS}
        try:
            with closing(KafkaAdminClient(**self._how, **limits)) as admin:
                yield admin
        except (KafkaError, OSError) as error:
            raise LogDown(f"{self._where}: {advice_on(type(error).__name__)}") from error

    def _called(self, topic: str) -> str:
        return self.kafka.prefix + topic


def described(told: Mapping[str, Any], configs: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a topic as its brokers have them."""
    partitions = told["partitions"]
    copies = len(partitions[0]["replica_nodes"]) if partitions else 0
    counted = {"partitions": str(len(partitions)), "replication": str(copies)}
    return {**counted, **{name: one["value"] for name, one in configs.items()}}


def advice_on(name: str) -> str:
    """What to do about a refusal of this name, in the words of either client."""
    if "AUTHENTICATION" in name.upper():
        return "the brokers refuse this user: check kafka.credentials and kafka.sasl"
    if "AUTHORIZATION" in name.upper():
        return (
            "the brokers do not allow it: grant CREATE, DESCRIBE, DESCRIBE_CONFIGS, READ and WRITE "
            "on topics, groups and transactional ids that begin with kafka.prefix"
        )
    if name == "_SSL":
        return "TLS fails: check kafka.security, ca_file, cert_file and key_file"
    if name == "_TRANSPORT":
        return "not as kafka.security says, or not as a broker: check bootstrap and security"
    return f"the brokers say {name}"


def stumbled(config: dict[str, Any]) -> str:
    """The name of the error that keeps confluent-kafka from the brokers, "" where none does."""
    found: list[str] = []
    config = {**config, "error_cb": lambda error: found.append(error.name())}
    client = AdminClient(config, logger=logging.getLogger("hub.kafka.client"))
    try:
        client.list_topics(timeout=PATIENCE_MS / 1_000)
    except KafkaException as error:
        client.poll(0)
        found.append(error.args[0].name())
        telling = [name for name in found if name not in ("_TRANSPORT", "_ALL_BROKERS_DOWN")]
        return telling[0] if telling else "_TRANSPORT"
    return ""


def listens(address: str) -> bool:
    """Whether anybody takes a connection at host:port."""
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1).close()
    except (OSError, ValueError):
        return False
    return True
