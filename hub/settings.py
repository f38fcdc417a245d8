"""`hub.yaml` and `rules.yaml` to frozen, typed settings; whatever is wrong stops the start.

Every error names file, line and key, and for an unknown key the nearest one that exists. All of
them are told at once. The descriptions here are the reference: hub/SETTINGS.md is made of them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import orjson
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from connectors._kit.source import Brokers, Kinds, Source, Strict, Table, meant
from hub.pure.rules import FieldRule, Rules, Strategy

LARGEST_FILE = 1024 * 1024
NAME = re.compile(r"[a-z][a-z0-9_]*")
NAMES = "lower-case letters, digits and _, a letter first"
SHORTEST_TOKEN = 16
LOOPBACK = ("127.0.0.1", "localhost", "::1")
KINDS = (
    "text",
    "name",
    "email",
    "phone",
    "address",
    "date",
    "domain",
    "money",
    "flag",
    "instant",
    "integer",
    "category",
    "set",
    "reference",
    "consent",
)


class BadSettings(ValueError):
    """What is wrong with the settings, one line each."""


class Public(Strict):
    """Where webhooks arrive."""

    host: str = Field("127.0.0.1", description="address to listen at for webhooks")
    port: int = Field(8410, ge=0, le=65535, description="port to listen at; 0 takes a free one")
    url: str = Field("", description="the address that the tools call, where it is another one")


class Private(Strict):
    """Where operators look."""

    host: str = Field("127.0.0.1", description="address for operators; loopback by default")
    port: int = Field(8411, ge=0, le=65535, description="port for operators")
    url: str = Field("", description="the address that they open, where it is another one")
    admin_token_file: str = Field(
        "", description="file with the token that is asked for; needed off loopback"
    )

    @model_validator(mode="after")
    def guarded(self) -> Self:
        """Off loopback only with a token."""
        if self.host not in LOOPBACK and not self.admin_token_file:
            raise ValueError("off loopback an admin_token_file is needed")
        return self


class SystemSettings(Strict):
    """One connected tool."""

    vendor: str = Field(description="the connector: a folder in connectors/")
    base_url: str = Field("", description="another address than the vendor's own")
    account: str = Field(
        "none",
        description="the account's id, pinned at first contact (`synchub check` tells it); none "
        "where the tool has none",
    )
    mode: Literal["live", "test"] = Field(
        "test", description="what kind of account it must be, live or test; another is refused"
    )
    time_zone: str = Field(
        "UTC", description="the account's, as told at first contact; nothing depends on it"
    )
    credentials: str = Field("", description="file with the credentials; default secrets/<name>")
    writes: bool = Field(default=True, description="whether the hub may write here at all")
    create: Literal["all", "linked", "never"] = Field(
        "all",
        description="which customers get a record here: all, linked (those that two systems have "
        "already), or never any",
    )
    consent: Literal["stricter", "evidence"] = Field(
        "stricter",
        description="what is written of consent: stricter (only refusals), or evidence (proven "
        "opt-ins as well)",
    )
    webhooks: bool = Field(
        default=True, description="whether its webhooks are taken; if not, it is only polled"
    )
    poll_seconds: float = Field(30, gt=0, description="how often changes are asked for")
    sweep_seconds: float = Field(3600, gt=0, description="how often every record is read again")
    calls_per_second: float | None = Field(
        None, gt=0, description="the account's budget for the hub; default: the vendor's"
    )
    lag_seconds: float | None = Field(
        None, ge=0, description="how long reads may show an older state; default: the connector's"
    )
    settle_seconds: float | None = Field(
        None, ge=0, description="how long a write may still move; default: the connector's"
    )
    source: Source | None = Field(
        None, description="tables of a database, for a connector without objects of its own"
    )


class Postgres(Strict):
    """Where what is known is kept, when several processes or machines share it."""

    url: str = Field(
        description="postgresql://user@host:5432/database?sslmode=verify-full, without the password"
    )
    credentials: str = Field("", description='file with {"password": …}, readable by its owner')
    schema_name: str = Field(
        "synchub",
        pattern="^[a-z][a-z0-9_]*$",
        description="the schema that holds this hub's tables",
    )
    connections: int = Field(8, ge=2, description="connections that one process keeps at most")

    @field_validator("url")
    @classmethod
    def without_password(cls, url: str) -> str:
        """An address of PostgreSQL that holds no secret."""
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("expected postgresql://user@host:port/database")
        if re.match(r"[a-z]+://[^/@]*:[^/@]*@", url):
            raise ValueError("the password belongs into the file that `credentials` names")
        return url


class Kafka(Brokers):
    """The log, when other processes read it."""

    prefix: str = Field(
        "",
        pattern="^[A-Za-z0-9._-]*$",
        description="what the names of this hub's topics and groups begin with, as acme.",
    )
    partitions: int = Field(6, ge=1, description="partitions of a topic that is made")
    replication: int = Field(3, ge=1, description="copies that the brokers keep of each message")
    retention_hours: int = Field(168, ge=1, description="how long changes stay in their topics")
    credentials: str = Field("", description='file with {"username": …, "password": …} for sasl')

    @model_validator(mode="after")
    def whole(self) -> Self:
        """What the security asks for is there."""
        if self.security.startswith("sasl") and not self.credentials:
            raise ValueError(f"security {self.security} needs credentials")
        return self


class Registry(Strict):
    """Where the topics' schemas are kept, for all who read them."""

    url: str = Field(description="address of a Confluent-compatible schema registry")
    ca_file: str = Field("", description="certificates that the registry's is signed with")
    credentials: str = Field("", description='file with {"username": …, "password": …}')

    @field_validator("url")
    @classmethod
    def without_password(cls, url: str) -> str:
        """An address of the web that holds no secret."""
        if not re.match(r"https?://[^/@\s]+(/[^@\s]*)?$", url):
            raise ValueError(
                "expected http://host:port/path or https://…; username and password belong into "
                "the file that `credentials` names"
            )
        return url


class HubSettings(Strict):
    """All of hub.yaml."""

    environment: Literal["production", "test"] = Field(
        "production",
        description="what this hub is for: test refuses every live account; production takes both "
        "kinds, each as its `mode` says",
    )
    state: str = Field(".synchub", description="folder of the database, beside hub.yaml")
    anchor: str = Field(
        "synchub-anchor.jsonl",
        description="file of the history's anchor, outside of the state folder",
    )
    default_region: str = Field(
        "US", pattern="^[A-Z]{2}$", description="country of telephone numbers without prefix"
    )
    merged_days: float = Field(
        30,
        ge=0,
        description="how long the golden topic tells where a merged customer went, before its "
        "tombstone",
    )
    public: Public = Field(default_factory=Public, description="where webhooks arrive")
    private: Private = Field(default_factory=Private, description="where operators look")
    postgres: Postgres | None = Field(
        None, description="the store, in place of a file in the state folder; needs kafka"
    )
    kafka: Kafka | None = Field(None, description="the log, in place of that file; needs postgres")
    registry: Registry | None = Field(
        None, description="the schemas of the topics; without it they are the files in schemas/"
    )
    systems: dict[str, SystemSettings] = Field(description="the connected tools by name")

    @model_validator(mode="before")
    @classmethod
    def without_name(cls, found: Any) -> Any:
        """Older files give the hub a name, which never did anything."""
        return {k: v for k, v in found.items() if k != "name"} if isinstance(found, dict) else found

    @field_validator("systems")
    @classmethod
    def named(cls, found: dict[str, SystemSettings]) -> dict[str, SystemSettings]:
        """Names that can stand in topics and addresses; credentials where none are named."""
        if not found:
            raise ValueError("no system is connected; `synchub init` writes a file with systems")
        if bad := [n for n in found if not NAME.fullmatch(n)]:
            raise ValueError(f"{bad[0]!r} is no name: {NAMES}")
        return {
            n: s if s.credentials else s.model_copy(update={"credentials": f"secrets/{n}"})
            for n, s in found.items()
        }

    @field_validator("systems")
    @classmethod
    def of_its_environment(
        cls, found: dict[str, SystemSettings], info: ValidationInfo
    ) -> dict[str, SystemSettings]:
        """What is tried out must not reach anybody's customers."""
        live = [name for name, one in found.items() if one.mode == "live"]
        if live and info.data.get("environment") == "test":
            why = "environment is test, so no live account is taken: pin a test account, or connect"
            why += " this one in the folder of another hub"
            raise PydanticCustomError("live_in_test", why, {"below": (live[0], "mode")})
        return found

    @model_validator(mode="after")
    def apart(self) -> Self:
        """Who can cut the history must not be able to cut its anchor with it."""
        if Path(self.state) in Path(self.anchor).parents:
            raise ValueError("anchor must lie outside of the state folder")
        return self

    @model_validator(mode="after")
    def together(self) -> Self:
        """Several processes need both a store and a log that they can share."""
        if bool(self.postgres) != bool(self.kafka):
            lacks = "kafka" if self.postgres else "postgres"
            raise ValueError(f"postgres and kafka go together: {lacks} is missing")
        if self.registry and not self.kafka:
            raise ValueError("a registry is for the topics of kafka, which is missing")
        return self


class FieldSettings(Strict):
    """How one field is decided.

    A file is held against `KINDS` and the systems of hub.yaml. What was published once is not: it
    stays readable when a system has gone.
    """

    kind: str = Field(description="what its values are: " + ", ".join(KINDS))
    strategy: Strategy = Field(
        "newest",
        description="which value counts: authority (of the system that ranks highest), newest "
        "(entered last), union (of sets: what anybody says), consent (a refusal stands until newer "
        "proof)",
    )
    authority: tuple[str, ...] = Field(
        (),
        description="names of systems in hub.yaml, the highest rank first; those left out rank "
        "lowest, all alike",
    )
    identifier: bool = Field(
        default=False, description="equal values make two records one customer"
    )

    @field_validator("kind")
    @classmethod
    def known_kind(cls, kind: str, info: ValidationInfo) -> str:
        """A kind that there is."""
        if info.context is not None and kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r}{meant(kind, KINDS)}")
        return kind

    @field_validator("authority")
    @classmethod
    def known_systems(cls, ranks: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Systems that there are."""
        systems = ranks if info.context is None else info.context["systems"]
        if odd := [name for name in ranks if name not in systems]:
            raise ValueError(f"hub.yaml has no system {odd[0]!r}{meant(odd[0], systems)}")
        return ranks

    @model_validator(mode="after")
    def consent_by_consent(self, info: ValidationInfo) -> Self:
        """Consent is decided in a way of its own, and nothing else is."""
        if info.context is not None and (self.kind == "consent") != (self.strategy == "consent"):
            raise ValueError("kind consent and strategy consent go together")
        return self


class RulesSettings(Strict):
    """All of rules.yaml."""

    entities: dict[Literal["person", "company"], dict[str, FieldSettings]] = Field(
        description="fields by entity"
    )
    role_mailboxes: tuple[str, ...] = Field(
        (), description="mailboxes that stand for no one person"
    )
    placeholders: tuple[str, ...] = Field(
        (), description="addresses, or @domains, typed where none was known"
    )


# -- defaults ----------------------------------------------------------------------------------

STANDARD: Mapping[str, Mapping[str, tuple[str, Strategy]]] = {
    "person": {
        "name": ("name", "newest"),
        "email": ("email", "newest"),
        "phone": ("phone", "newest"),
        "mobile": ("phone", "newest"),
        "address": ("address", "newest"),
        "birth_date": ("date", "newest"),
        "job_title": ("text", "newest"),
        "company_name": ("text", "newest"),
        "website": ("text", "newest"),
        "language": ("text", "newest"),
        "note": ("text", "newest"),
        "tags": ("set", "union"),
        "balance": ("money", "newest"),
        "delinquent": ("flag", "newest"),
        "consent": ("consent", "consent"),
        "companies": ("reference", "union"),
    },
    "company": {
        "legal_name": ("text", "newest"),
        "domain": ("domain", "newest"),
        "phone": ("phone", "newest"),
        "address": ("address", "newest"),
        "industry": ("text", "newest"),
        "website": ("text", "newest"),
        "tags": ("set", "union"),
        "parent": ("reference", "union"),
    },
}
ROLES = (
    "abuse",
    "accounting",
    "accounts",
    "admin",
    "billing",
    "contact",
    "enquiries",
    "hello",
    "help",
    "hr",
    "info",
    "invoices",
    "jobs",
    "mail",
    "marketing",
    "noreply",
    "no-reply",
    "office",
    "postmaster",
    "press",
    "reception",
    "sales",
    "service",
    "support",
    "team",
    "webmaster",
)
PLACEHOLDERS = (
    "none@none.com",
    "no@email.com",
    "noemail@example.com",
    "test@test.com",
    "na@na.com",
    "unknown@unknown.com",
    "@none.com",
    "@noemail.com",
    "@invalid.com",
)


def default_rules(systems: Iterator[str] | tuple[str, ...]) -> RulesSettings:
    """The standard fields; the systems rank in the order given."""
    ranks = tuple(systems)
    entities: dict[Any, Any] = {
        entity: {
            n: FieldSettings(kind=kind, strategy=strategy, authority=ranks)
            for n, (kind, strategy) in found.items()
        }
        for entity, found in STANDARD.items()
    }
    return RulesSettings(entities=entities, role_mailboxes=ROLES, placeholders=PLACEHOLDERS)


def to_rules(found: RulesSettings, version: int, region: str) -> Rules:
    """The rules as the core wants them."""
    entities: dict[str, dict[str, FieldRule]] = {
        entity: {
            n: FieldRule(n, f.kind, f.strategy, f.authority, f.identifier)
            for n, f in fields.items()
        }
        for entity, fields in found.entities.items()
    }
    return Rules(
        version, entities, frozenset(found.role_mailboxes), frozenset(found.placeholders), region
    )


def kinds(found: RulesSettings) -> Kinds:
    """The kind of every field, by entity."""
    return {e: {n: f.kind for n, f in fields.items()} for e, fields in found.entities.items()}


# -- reading -----------------------------------------------------------------------------------

M = TypeVar("M", bound=BaseModel)


def load_hub(path: Path) -> HubSettings:
    """`hub.yaml`; raises `BadSettings`."""
    return load(path, HubSettings)


def load_rules(path: Path, systems: Collection[str]) -> RulesSettings:
    """`rules.yaml` beside a hub.yaml with these systems; raises `BadSettings`."""
    return load(path, RulesSettings, {"systems": systems})


def load(path: Path, model: type[M], context: Mapping[str, Any] | None = None) -> M:
    """A checked file; raises `BadSettings` with every error of it."""
    doc = read_yaml(path)
    try:
        return model.model_validate(plain(doc), context=context)
    except ValidationError as error:
        lines = [told(path, doc, model, one) for one in error.errors()]
        raise BadSettings("\n".join(lines)) from None


def read_yaml(path: Path) -> Any:
    """The mapping in a file, with line numbers; raises `BadSettings`."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadSettings(f"{path}: larger than {LARGEST_FILE} bytes, that is no settings file")
        text = path.read_text(encoding="utf-8")
        if re.search(r"(^|[\s\[,{:-])[&*][A-Za-z0-9_]+", text):
            raise BadSettings(f"{path}: anchors and aliases (& and *) are not taken here")
        doc = YAML(typ="rt").load(text)
    except FileNotFoundError:
        raise BadSettings(f"{path} does not exist; `synchub init` writes one") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise BadSettings(f"{path} line {line}: {error.problem}") from None
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path}: {error}") from None
    if not isinstance(doc, dict):
        raise BadSettings(
            f"{path}: expected keys and values, found "
            f"{'nothing' if doc is None else type(doc).__name__}"
        )
    return doc


def plain(doc: Any) -> Any:
    """The document without its line numbers."""
    if isinstance(doc, dict):
        return {str(k): plain(v) for k, v in doc.items()}
    if isinstance(doc, list):
        return [plain(v) for v in doc]
    return doc


def told(path: Path, doc: Any, model: type[BaseModel], error: Any) -> str:
    """One error: file, line, key, what is wrong, and what may have been meant."""
    place = [p for p in error["loc"] if p != "[key]"] + list(error.get("ctx", {}).get("below", ()))
    key = ".".join(str(p) for p in place)
    line = line_of(doc, place)
    where = f"{path} line {line}" if line else str(path)
    if error["type"] == "extra_forbidden":
        hint = meant(str(place[-1]), known_keys(model, place[:-1]))
        return f"{where}: {key}: unknown key{hint}"
    if error["type"] == "missing":
        return f"{where}: {key}: is missing"
    return f"{where}: {key}: {error['msg'].removeprefix('Value error, ')}"


def at(path: Path, place: list[Any], why: str) -> str:
    """What is wrong at a place in a file, as `told` says it."""
    line = line_of(read_yaml(path), place) if path.exists() else 0
    where = f"{path} line {line}" if line else str(path)
    return f"{where}: {'.'.join(place)}: {why}"


def line_of(doc: Any, place: list[Any]) -> int:
    """The line of a key, or of the nearest thing around it; 0 when unknown."""
    line = 0
    for part in place:
        positions = getattr(getattr(doc, "lc", None), "data", None) or {}
        if isinstance(doc, dict) and part in positions:
            line, doc = positions[part][0] + 1, doc[part]
        elif isinstance(doc, list) and isinstance(part, int) and part < len(doc):
            line, doc = (positions.get(part, [line - 1])[0] + 1), doc[part]
        else:
            break
    return line


def known_keys(model: type[BaseModel], place: list[Any]) -> list[str]:
    """The keys that exist at a place."""
    current: Any = model
    for part in place:
        fields = getattr(current, "model_fields", {})
        current = _inner(fields[part].annotation) if part in fields else _inner(current)
    return list(getattr(current, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = [one for one in getattr(annotation, "__args__", ()) if one is not type(None)]
    return _inner(inside[-1]) if inside else annotation


# -- credentials -------------------------------------------------------------------------------


def open_to_others(found: os.stat_result) -> bool:
    """Whether a file of secrets can be read by somebody it is not for.

    What belongs to another user, and is ours to read, was given to us through its group: that is
    how Kubernetes hands out secrets.
    """
    given = found.st_uid != os.geteuid()
    return bool(stat.S_IMODE(found.st_mode) & (0o007 if given else 0o077))


def read_secrets(path: Path) -> dict[str, str]:
    """Names and values of one system's credentials; raises `BadSettings`."""
    try:
        if open_to_others(path.stat()):
            raise BadSettings(f"{path} is readable by others: chmod 600 {path}")
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadSettings(
            f"{path} does not exist: write the credentials there as JSON, one "
            "object of names and values, and chmod 600 it"
        ) from None
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise BadSettings(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise BadSettings(f"{path}: expected one object of names and texts")
    return found


def read_login(path: Path) -> tuple[str, str]:
    """A username and its password; raises `BadSettings`."""
    found = read_secrets(path)
    if found.keys() != {"username", "password"} or ":" in found["username"]:
        raise BadSettings(
            f'{path}: expected {{"username": …, "password": …}}, without a colon in the username'
        )
    return found["username"], found["password"]


def read_token(path: Path) -> str:
    """The admin token; raises `BadSettings`."""
    try:
        if open_to_others(path.stat()):
            raise BadSettings(f"{path} is readable by others: chmod 600 {path}")
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise BadSettings(f"the admin token {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    if len(token) < SHORTEST_TOKEN or not token.isprintable():
        raise BadSettings(
            f"{path}: expected one line of {SHORTEST_TOKEN} or more ASCII characters, as "
            "`openssl rand -hex 32` prints it"
        )
    return token


def write_secrets(path: Path, found: Mapping[str, str]) -> None:
    """Keep credentials with mode 0600; never over others. Raises `BadSettings`."""
    if path.exists():
        if read_secrets(path) != dict(found):
            raise BadSettings(f"{path} holds other credentials: move it away first")
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(orjson.dumps(dict(found), option=orjson.OPT_INDENT_2) + b"\n")


# -- writing -----------------------------------------------------------------------------------


def render_hub(found: HubSettings) -> str:
    """A short, commented hub.yaml that reads back equal."""
    marked = "" if found.environment == "test" else "# "
    lines = [
        "# Systems and settings of this hub; every key is explained in hub/SETTINGS.md.",
        # Older versions, which may run beside this one for a while, do not know the key.
        f"{marked}environment: test   # such a hub takes no live account",
        f"state: {found.state}             # the database; back it up with secrets/",
        f"anchor: {found.anchor}   # keep it on another disk if you can",
        f"default_region: {found.default_region}        # for telephone numbers without prefix",
        "public:",
        f"  port: {found.public.port}              # webhooks arrive here",
    ]
    lines += [f"  url: {found.public.url}"] if found.public.url else []
    shown = f"  port: {found.private.port}              # status and metrics are here"
    lines += ["private:", shown, "", "systems:"]
    for name, one in found.systems.items():
        lines += [f"  {name}:", *(f"    {line}" for line in system_lines(name, one))]
    return "\n".join(lines) + "\n"


def system_lines(name: str, one: SystemSettings) -> Iterator[str]:
    """What differs from the defaults, and what everybody should have seen."""
    always = ("vendor", "account", "mode", "time_zone", "create", "poll_seconds")
    for key, info in SystemSettings.model_fields.items():
        value = getattr(one, key)
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_defaults=True)
        default = f"secrets/{name}" if key == "credentials" else info.default
        if key in always or key == "credentials" or value != default:
            yield f"{key}: {orjson.dumps(value).decode()}  # {info.description}"


def render_rules(found: RulesSettings) -> str:
    """A commented rules.yaml that reads back equal."""
    lines = [
        "# How each field is decided. The hub runs the last published version of this file:",
        "# `synchub check --publish` publishes it.",
        "entities:",
    ]
    for entity, fields in found.entities.items():
        lines.append(f"  {entity}:")
        for name, one in fields.items():
            more = ", identifier: true" if one.identifier else ""
            lines.append(
                f"    {name}: {{kind: {one.kind}, strategy: {one.strategy}, "
                f"authority: [{', '.join(one.authority)}]{more}}}"
            )
    lines += [
        "",
        "# Mailboxes of a role are no evidence that two records are one person.",
        f"role_mailboxes: [{', '.join(found.role_mailboxes)}]",
        "# What people type when they have no address; @domain means all of it.",
        "placeholders:",
        *(f'  - "{p}"' for p in found.placeholders),
    ]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Every setting, as Markdown."""
    parts = ["# Settings", "", "Made from the descriptions in `hub/settings.py`."]
    for model, title in (
        (HubSettings, "hub.yaml"),
        (Public, "hub.yaml: public"),
        (Private, "hub.yaml: private"),
        (Postgres, "hub.yaml: postgres"),
        (Kafka, "hub.yaml: kafka"),
        (Registry, "hub.yaml: registry"),
        (SystemSettings, "hub.yaml: systems.<name>"),
        (Source, "hub.yaml: systems.<name>.source"),
        (Table, "hub.yaml: systems.<name>.source.tables.<name>"),
        (RulesSettings, "rules.yaml"),
        (FieldSettings, "rules.yaml: entities.<entity>.<field>"),
    ):
        parts += ["", f"## {title}", "", "| key | default | meaning |", "| --- | --- | --- |"]
        parts += [
            f"| `{k}` | {_default(f)} | {f.description} |" for k, f in model.model_fields.items()
        ]
    return "\n".join(parts) + "\n"


def _default(info: Any) -> str:
    if info.is_required():
        return "required"
    return "" if info.default_factory else f"`{orjson.dumps(info.default).decode()}`"
