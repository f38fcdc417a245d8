"""What hub.yaml declares where a tool has no objects of its own: tables, read from topics.

The words of `source`, for the hub, which checks them, and for the connector that reads by them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Kinds = Mapping[str, Mapping[str, str]]  # what rules.yaml says: entity to field to kind
PROTOCOL = {
    "plaintext": "PLAINTEXT",
    "tls": "SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "sasl_tls": "SASL_SSL",
}
FILES = ("ca_file", "cert_file", "key_file", "registry_ca_file")


def meant(word: str, known: Collection[str]) -> str:
    """What may have been meant by a word, "" where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


class Misdeclared(ValueError):
    """A declaration that cannot be followed; `place` is the way to its key inside of `source`."""

    def __init__(self, why: str, *place: str) -> None:
        super().__init__(why)
        self.place = place


class Strict(BaseModel):
    """A part of a file: an unknown key is an error, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Brokers(Strict):
    """Brokers of Kafka, and how they are spoken to."""

    bootstrap: str = Field(min_length=1, description="brokers, host:port, with commas between them")
    security: Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"] = Field(
        "plaintext", description="how brokers are spoken to"
    )
    ca_file: str = Field("", description="certificates that the brokers' are signed with")
    cert_file: str = Field("", description="our certificate, where brokers ask for one")
    key_file: str = Field("", description="the key of it")
    sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="the way of signing in, with security sasl_…"
    )

    @model_validator(mode="after")
    def paired(self) -> Self:
        """A certificate is nothing without its key."""
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file go together")
        return self


def _listed(found: Any) -> Any:
    return (found,) if isinstance(found, str) else found


def _parted(found: Any) -> Any:
    return {"column": found} if isinstance(found, str) else found


Columns = Annotated[tuple[str, ...], BeforeValidator(_listed)]  # one may stand by itself
Parts = Annotated[dict[str, str], BeforeValidator(_parted)]  # {"column": …}, or a column for a part


class Table(Strict):
    """One table."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    topic: str = Field(min_length=1, description="the topic that its changes are in")
    entity: Literal["person", "company"] = Field(description="what its rows are")
    key: Columns = Field(
        min_length=1, description="the column that names a row for ever, or a list of them"
    )
    fields: dict[str, Parts] = Field(
        min_length=1,
        description="our field (see rules.yaml) to its column, or to the columns of its parts",
    )
    company: str = Field("", description="the column that holds the key of a row's company")

    @field_validator("topic")
    @classmethod
    def of_rows(cls, topic: str) -> str:
        """A topic that holds rows."""
        if topic.endswith(".transaction") or topic.startswith("__debezium-heartbeat"):
            raise ValueError(f"{topic} holds no rows; a table's topic is <prefix>.<schema>.<table>")
        return topic


class Source(Brokers):
    """Tables of a database whose changes Debezium writes into topics."""

    registry: str = Field(
        "", description="address of a Confluent-compatible schema registry, for topics in Avro"
    )
    registry_ca_file: str = Field("", description="certificates that the registry's is signed with")
    tables: dict[str, Table] = Field(min_length=1, description="its tables, by names of ours")

    @model_validator(mode="after")
    def one_end(self) -> Self:
        """An association leads to one table, and two tables do not share a topic."""
        topics = [table.topic for table in self.tables.values()]
        if twice := next((t for t in topics if topics.count(t) > 1), ""):
            raise ValueError(f"two tables read the topic {twice}")
        companies = [n for n, table in self.tables.items() if table.entity == "company"]
        if any(table.company for table in self.tables.values()) and len(companies) != 1:
            raise ValueError("a column `company` leads to the one table of entity company")
        return self

    def beside(self, folder: Path) -> Self:
        """The same, with its files beside hub.yaml."""
        named = {name: getattr(self, name) for name in FILES}
        return self.model_copy(update={n: str(folder / file) for n, file in named.items() if file})
