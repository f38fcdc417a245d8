"""The schemas of topics in a registry that speaks Confluent's protocol.

A topic's values have the subject `<topic>-value` (TopicNameStrategy), and every two versions of it
can read each other (FULL_TRANSITIVE). Ids never change their meaning: one that was asked for once
needs no registry again, and what the registry does not know is not asked again for a while.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.common._httpx_compat import httpx  # whichever it speaks by
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro.schema import SchemaParseException, UnknownType

from hub.io.schemas import PUBLISHED, SCHEMAS, NoRegistry, Undecodable, schema, whole

LEVEL = "FULL_TRANSITIVE"
NO_SCHEMA = 40403  # the protocol's own code: another 404 is of no registry
FORGET_MS = 30_000  # how long a registry is believed not to know an id
SOON_MS = 1_000  # how long one that does not answer is left alone
REMEMBERED = 1_000  # unknown ids; whoever makes up more makes us forget, not grow
# One retry: a start may meet a registry that starts as well, and has to end in ten seconds.
PATIENCE = {"timeout": 2, "max.retries": 1, "retries.wait.ms": 200}


def way(url: str, ca_file: str = "", login: tuple[str, str] | None = None) -> dict[str, Any]:
    """How the client reaches a registry; `login` is a username and a password."""
    conf: dict[str, Any] = {"url": url, **PATIENCE}
    if ca_file:
        conf["ssl.ca.location"] = ca_file
    if login:
        conf["basic.auth.user.info"] = ":".join(login)
    return conf


class Registered:
    """See `hub.io.codec.Registry`. `conf`: as `way` makes it; `now`: a clock in ms.

    `prefix` begins the names of this hub's topics; `folder` holds their schemas. Raises OSError
    where the file of certificates cannot be read.
    """

    def __init__(
        self, conf: dict[str, Any], prefix: str, now: Callable[[], int], folder: Path = SCHEMAS
    ) -> None:
        self._client, self._prefix, self._now = SchemaRegistryClient(conf), prefix, now
        self._folder = folder
        at = urlsplit(conf["url"])
        self._place = f"the registry at {at.hostname}:{at.port or at.scheme}"
        self._writers: dict[int, Any] = {}
        self._refusals: dict[int, tuple[int, type[Exception], str]] = {}

    def register(self, topic: str, name: str) -> int:
        """The id of a topic's schema, which is put into the registry where it is not yet."""
        subject = f"{self._prefix}{topic}-value"
        decided = self.look(topic)
        with self._asking(subject):
            if not decided:
                self._decide(subject)
            return int(self._client.register_schema(subject, Schema(self._text(name), "AVRO")))

    def look(self, topic: str) -> bool:
        """Whether somebody has decided about a topic's schemas; changes nothing.

        Raises `NoRegistry` where they did otherwise than we need it.
        """
        subject = f"{self._prefix}{topic}-value"
        with self._asking(subject):
            level = self._level(subject)
        if level not in (LEVEL, ""):
            raise NoRegistry(
                f"{self._place} keeps {subject} {level}: set it to {LEVEL} (PUT /config/{subject}),"
                " or give this hub a kafka.prefix of its own"
            )
        return bool(level)

    def _text(self, name: str) -> str:
        return json.dumps(whole(name, self._folder), ensure_ascii=False)

    def _decide(self, subject: str) -> None:
        """Set our compatibility; processes that start together do it at the same time."""
        try:
            self._client.set_compatibility(subject, LEVEL)
        except SchemaRegistryError as error:
            if error.http_status_code != HTTPStatus.CONFLICT or self._level(subject) != LEVEL:
                raise

    def _level(self, subject: str) -> str:
        """The compatibility of a subject, "" where nobody has decided."""
        try:
            return str(self._client.get_compatibility(subject))
        except SchemaRegistryError as error:
            if error.http_status_code != HTTPStatus.NOT_FOUND or error.error_code in (None, -1):
                raise
        return ""

    def writer(self, number: int) -> Any:
        """The parsed schema with this id."""
        if (known := self._writers.get(number)) is not None:
            return known
        until, kind, why = self._refusals.get(number, (0, Undecodable, ""))
        if self._now() < until:
            raise kind(why)
        try:
            found = self._writers[number] = self._fetch(number)
        except (Undecodable, NoRegistry) as error:
            self._remember(number, error)
            raise
        return found

    def _fetch(self, number: int) -> Any:
        with self._asking(f"the schema with id {number}"):
            try:
                found = self._client.get_schema(number)
            except SchemaRegistryError as error:
                if error.error_code != NO_SCHEMA:
                    raise
                raise Undecodable(f"the registry knows no schema with id {number}") from error
        return self._ours(parsed(number, found))

    def _ours(self, found: Any) -> Any:
        """Our own schema in place of an equal one: what it wrote is read without a translation."""
        own = (schema(name, self._folder) for name in PUBLISHED)
        return next((one for one in own if one == found), found)

    def _remember(self, number: int, error: Exception) -> None:
        if len(self._refusals) >= REMEMBERED:
            self._refusals.clear()
        lasts = SOON_MS if isinstance(error, NoRegistry) else FORGET_MS
        self._refusals[number] = (self._now() + lasts, type(error), str(error))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Whatever may go wrong on the way, as one sentence that says what to change."""
        try:
            yield
        except SchemaRegistryError as error:
            raise NoRegistry(f"{self._place} {refusal(error, what)}") from error
        except httpx.HTTPError as error:
            raise NoRegistry(f"{self._place} {unreachable(error)}") from error
        except Undecodable:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoRegistry(f"{self._place} {NOT_ONE}") from error


NOT_ONE = (
    "does not answer as a schema registry does: check the path in registry.url, which with "
    "Apicurio ends in /apis/ccompat/v7"
)


def parsed(number: int, found: Schema) -> Any:
    """A schema from the registry; raises `Undecodable` where it is none of Avro's."""
    if found.schema_type not in (None, "AVRO"):
        raise Undecodable(f"the schema with id {number} is {found.schema_type}, not Avro")
    try:
        return fastavro.parse_schema(json.loads(found.schema_str or ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Undecodable(f"the schema with id {number} cannot be read: {error}") from error
    except (SchemaParseException, UnknownType) as error:
        raise Undecodable(f"the schema with id {number} is not whole: {error}") from error


def refusal(error: SchemaRegistryError, what: str) -> str:
    """What a registry that refuses wants."""
    status, code = error.http_status_code, error.error_code
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"refuses us {what} ({status}): check username and password in registry.credentials"
    if status == HTTPStatus.NOT_FOUND and code in (None, -1):
        return NOT_ONE
    if status == HTTPStatus.CONFLICT:
        return (
            f"holds another schema under {what}, which ours does not fit: give this hub a "
            f"kafka.prefix of its own, or delete that subject ({error.error_message})"
        )
    return f"refuses {what} ({status}): make it do this, then start again ({error.error_message})"


def unreachable(error: Exception) -> str:
    """Why there is no answer, and what to change."""
    why = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return f"has a certificate that is not trusted: name its signer in registry.ca_file ({why})"
    return f"cannot be reached: check registry.url, and that it is up ({why})"
