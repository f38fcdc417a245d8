"""The brokers of Apache Kafka: how they are reached by both clients, and the topics they hold.

What goes through the log goes through confluent-kafka. Topics are made and checked, and ends are
told, by kafka-python: two clients that share no code, so neither's reading of the protocol is
taken for granted.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, OffsetSpec
from kafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    for_code,
)
from kafka.protocol.consumer import IsolationLevel

from hub.io.log import LogDown, Place
from hub.settings import BadSettings, Kafka, read_secrets

T = TypeVar("T")
PATIENCE_MS = 4_000  # what is wrong with the brokers is said well within ten seconds
PROTOCOL = {
    "plaintext": "PLAINTEXT",
    "tls": "SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "sasl_tls": "SASL_SSL",
}
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
    """What is asked of the brokers beside messages. Any thread may ask; one is answered at a time.

    Names of topics are those of the hub, without the prefix.
    """

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        """Nothing is asked yet. Raises `BadSettings`."""
        self.kafka = kafka
        self._how = admin_client(kafka, folder)
        self._admin: KafkaAdminClient | None = None
        self._lock = threading.Lock()

    # -- topics ------------------------------------------------------------------------------------

    def make(self, topics: Collection[str]) -> None:
        """Make those of these topics that are missing. Raises `LogDown`."""
        wanted = {
            self.kafka.prefix + topic: {
                "num_partitions": self.kafka.partitions,
                "replication_factor": self.kafka.replication,
                "configs": self.configs(topic),
            }
            for topic in self.missing(topics)
        }
        if wanted:
            for one in self._ask("create_topics", wanted, raise_errors=False)["topics"]:
                self._made(one)
            self._ask("wait_for_topics", list(wanted))

    def missing(self, topics: Iterable[str]) -> list[str]:
        """Those of these topics that do not exist. Raises `LogDown`."""
        known = set(self._ask("list_topics"))
        return [topic for topic in topics if self.kafka.prefix + topic not in known]

    def configs(self, topic: str) -> dict[str, str]:
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
        raise LogDown(f"topic {name} cannot be made: {advice(error)} ({why})")

    def differences(self, topics: Collection[str]) -> list[str]:
        """A sentence for each topic whose settings are not those of hub.yaml; nothing is changed.

        Raises `LogDown`.
        """
        names = [self.kafka.prefix + topic for topic in topics]
        told = {one["name"]: one for one in self._ask("describe_topics", names)}
        asked = [
            ConfigResource("topic", self.kafka.prefix + t, dict.fromkeys(self.configs(t)))
            for t in topics
        ]
        configs = self._ask("describe_configs", asked, config_filter="all").get("topic", {})
        found = []
        for topic, name in zip(topics, names, strict=True):
            wanted, have = self._wanted(topic), described(told[name], configs.get(name, {}))
            wrong = [f"{k} is {have[k]}, not {wanted[k]}" for k in wanted if have[k] != wanted[k]]
            found += [f"topic {name}: {', '.join(wrong)}"] if wrong else []
        return found

    def _wanted(self, topic: str) -> dict[str, str]:
        """The settings of a topic in hub.yaml."""
        counted = {"partitions": self.kafka.partitions, "replication": self.kafka.replication}
        return {**{k: str(n) for k, n in counted.items()}, **self.configs(topic)}

    # -- ends --------------------------------------------------------------------------------------

    def ends(self, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """The first offset that each partition still has, and the one that it gives next.

        A partition that is not there has none. Raises `LogDown`.
        """
        wanted = self._there(list(places))
        return {
            place: (low, high)
            for place, low, high in zip(
                wanted,
                self._offsets(wanted, OffsetSpec.EARLIEST),
                self._offsets(wanted, OffsetSpec.LATEST),
                strict=True,
            )
        }

    def _there(self, places: list[Place]) -> list[Place]:
        names = sorted({self.kafka.prefix + topic for topic, _ in places})
        told = {t["name"]: t["partitions"] for t in self._ask("describe_topics", names)}
        counts = {name: len(partitions) for name, partitions in told.items()}
        return [(t, n) for t, n in places if n < counts.get(self.kafka.prefix + t, 0)]

    def _offsets(self, places: list[Place], which: Any) -> list[int]:
        asked = {TopicPartition(self.kafka.prefix + t, n): which for t, n in places}
        read_committed = IsolationLevel.READ_COMMITTED
        found = self._ask("list_partition_offsets", asked, read_committed) if asked else {}
        return [found[one].offset for one in asked]

    # -- asking ------------------------------------------------------------------------------------

    def answer(self) -> None:
        """Raise `LogDown` unless a broker answers."""
        self._ask("describe_cluster")

    def _ask(self, what: str, *asked: Any, **more: Any) -> Any:
        with self._lock:
            try:
                return getattr(self._connected(), what)(*asked, **more)
            except (KafkaError, OSError) as error:
                self._drop()
                raise LogDown(self._why(error)) from error

    def _connected(self) -> KafkaAdminClient:
        if self._admin is None:
            limits = {"bootstrap_timeout_ms": PATIENCE_MS, "request_timeout_ms": PATIENCE_MS}
            self._admin = KafkaAdminClient(**self._how, **limits)
        return self._admin

    def _drop(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def _why(self, error: Exception) -> str:
        """What to change where brokers do not answer, or not as asked."""
        where = f"kafka.bootstrap {self.kafka.bootstrap}"
        if isinstance(error, SaslAuthenticationFailedError):
            return f"{where}: {advice(SaslAuthenticationFailedError)}"
        if not any(map(listens, self.kafka.bootstrap.split(","))):
            return f"{where}: nobody listens there; start the brokers, or correct the address"
        if getattr(error, "errno", 0):
            return f"{where}: {advice(type(error))}"
        return (
            f"{where}: somebody listens, but does not answer as kafka.security "
            f"{self.kafka.security} asks ({type(error).__name__}): check security and ca_file"
        )

    def close(self) -> None:
        """End the connections."""
        with self._lock:
            self._drop()


def described(told: Mapping[str, Any], configs: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a topic as its brokers have them."""
    partitions = told["partitions"]
    copies = len(partitions[0]["replica_nodes"]) if partitions else 0
    counted = {"partitions": str(len(partitions)), "replication": str(copies)}
    return {**counted, **{name: one["value"] for name, one in configs.items()}}


def advice(error: type[BaseException]) -> str:
    """What to do about a refusal."""
    return advice_on(error.__name__)


def advice_on(name: str) -> str:
    """What to do about a refusal of this name, in the words of either client."""
    if "Authentication" in name or "AUTHENTICATION" in name:
        return "the brokers refuse this user: check kafka.credentials and kafka.sasl"
    if "Authorization" in name or "AUTHORIZATION" in name:
        return (
            "the brokers do not allow it: grant CREATE, DESCRIBE, DESCRIBE_CONFIGS, READ and WRITE "
            "on topics, groups and transactional ids that begin with kafka.prefix"
        )
    return f"the brokers say {name}"


def listens(address: str) -> bool:
    """Whether anybody takes a connection at host:port."""
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1).close()
    except (OSError, ValueError):
        return False
    return True
