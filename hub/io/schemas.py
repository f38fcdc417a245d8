"""The Avro schemas of what is published: the files in `schemas/`, and every version of them.

A schema that stands for itself has the types that it uses inside, each where it is used first. The
fingerprint of a version is the name of the file in which it is kept: `schemas/versions/<name>/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import fastavro

SCHEMAS = Path(__file__).parents[2] / "schemas"
PUBLISHED = ("person_change", "company_change")  # what topics hold
MARK = 8  # bytes of a fingerprint
_TYPES = ("type", "fields", "items", "values")  # where a type may stand in a schema


class Undecodable(ValueError):
    """Bytes that are no event of ours; the text says why."""


class NoRegistry(ConnectionError):
    """The schema registry cannot be used as it is; the text says what to change."""


@cache
def schema(name: str, folder: Path = SCHEMAS) -> Any:
    """A parsed schema by the name of its file."""
    return fastavro.parse_schema(whole(name, folder))


@cache
def versions(name: str, folder: Path = SCHEMAS) -> Mapping[bytes, Any]:
    """Every version of a schema by its fingerprint, parsed, the present one among them."""
    files = sorted((folder / "versions" / name).glob("*.avsc"))
    old = {bytes.fromhex(f.stem): fastavro.parse_schema(json.loads(f.read_text())) for f in files}
    return old | {fingerprint(name, folder): schema(name, folder)}


def keep(folder: Path = SCHEMAS) -> None:
    """Keep the present version of every schema that topics hold; it is never changed again."""
    for name in PUBLISHED:
        path = kept_as(name, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(whole(name, folder), indent=2, ensure_ascii=False) + "\n")


def kept_as(name: str, folder: Path = SCHEMAS) -> Path:
    """The file in which the present version of a schema is kept."""
    return folder / "versions" / name / f"{fingerprint(name, folder).hex()}.avsc"


@cache
def fingerprint(name: str, folder: Path = SCHEMAS) -> bytes:
    """Eight bytes that tell one version of a schema from another."""
    text = json.dumps([read(part, folder) for part in parts(name)], sort_keys=True)
    return sha256(text.encode()).digest()[:MARK]


def parts(name: str) -> tuple[str, ...]:
    """The files that make up a schema, what is used before what uses it."""
    entity = name.removesuffix("_change")
    return ("common", entity) if entity == name else ("common", entity, name)


def read(name: str, folder: Path = SCHEMAS) -> Any:
    """One file as it is: a type, or a list of them."""
    return json.loads((folder / f"{name}.avsc").read_text())


@cache
def whole(name: str, folder: Path = SCHEMAS) -> Any:
    """A schema that stands for itself, as JSON values."""
    found = [one for part in parts(name) for one in _as_list(read(part, folder))]
    named = {f"{one['namespace']}.{one['name']}": one for one in found}
    return inlined(list(named)[-1], named)


def _as_list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def inlined(found: Any, named: dict[str, Any]) -> Any:
    """Put each of the `named` types, by full name, where it is first used; it leaves `named`."""
    if isinstance(found, str):
        return inlined(named.pop(found), named) if found in named else found
    if isinstance(found, list):
        return [inlined(one, named) for one in found]
    return {k: inlined(v, named) if k in _TYPES else v for k, v in found.items()}
