"""The same parts in containers, for machines with a Docker engine."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker.errors import DockerException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy

from deploy.local.parts import OF_ONE_NODE
from deploy.local.process import free_port


def engine_answers() -> bool:
    """Whether there is an engine."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            return bool(docker.from_env(timeout=5).ping())
        except DockerException:
            return False
        finally:
            gc.collect()  # a client that found no engine has left its socket open


@contextmanager
def kafka() -> Iterator[str]:
    """The bootstrap address of one node."""
    address = f"127.0.0.1:{(port := free_port())}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "PLAIN://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAIN://{address}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
        **OF_ONE_NODE,
    }
    made = DockerContainer("apache/kafka:4.1.0").with_bind_ports(9092, port)
    made.with_envs(**{f"KAFKA_{k.upper().replace('.', '_')}": v for k, v in settings.items()})
    with made.waiting_for(LogMessageWaitStrategy("Kafka Server started")):
        yield address


@contextmanager
def registry() -> Iterator[str]:
    """The URL of its Confluent API."""
    path = "/apis/ccompat/v7"
    made = DockerContainer("apicurio/apicurio-registry:3.0.9").with_exposed_ports(8080)
    with made.waiting_for(HttpWaitStrategy(8080, f"{path}/subjects")):
        yield f"http://{made.get_container_host_ip()}:{made.get_exposed_port(8080)}{path}"


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a server, without a password: hub.yaml takes none in an address."""
    made = PostgresContainer("postgres:18", username="postgres", dbname="postgres")
    with made.with_env("POSTGRES_HOST_AUTH_METHOD", "trust"):
        host, port = made.get_container_host_ip(), made.get_exposed_port(5432)
        yield f"postgresql://postgres@{host}:{port}/postgres"
