"""What a connector is: the only words that the hub and a tool's connector share.

A connector is one short typed file. It says which objects a tool has and how its fields map to
ours (`ObjectSpec`), and it can list, follow, read and write records through the `Api` it is given.
It keeps no state, reads no clock, starts no thread, and never decides anything: what comes in is a
`Reading`, what goes out is a `Write`, what the tool said to it is an `Answer`.

Errors: a connector raises only `Unreadable` (the tool's answer breaks its own contract: wrong
types, missing ids, pages without progress) and the three webhook refusals below. Transport and
HTTP errors are the `Api`'s business: it raises `Unavailable` (try again at a given time), `Denied`
(stop: credentials or scopes), both defined here because the hub acts differently on each.

    ConnectorError
    ├── Unreadable      the answer cannot be understood: park it, go on with the rest
    ├── Unavailable     the tool cannot answer now: retry after a while
    ├── Denied          it never will until somebody changes something: stop this connector
    └── WebhookRefused
        ├── Forged      signature wrong or missing: 401, counted
        ├── Stale       signature right, but too old: refused, records are read again
        └── Malformed   signature right, body is not what the vendor documents: parked
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Literal, Protocol, runtime_checkable

import orjson

from connectors._kit.fieldmap import FieldMap
from connectors._kit.source import Kinds, Source

Json = object  # any value that JSON can hold: None, bool, int, float, str, list, dict

State = Literal["live", "archived", "deleted", "merged"]
Entity = Literal["person", "company"]


class ConnectorError(Exception):
    """Root of everything a connector or its `Api` may raise. The text says what to do."""


class Unreadable(ConnectorError):
    """The tool's answer breaks the tool's own contract. `raw` is kept so that nothing is lost."""

    def __init__(self, why: str, raw: bytes = b"") -> None:
        super().__init__(why)
        self.raw = raw


class Unavailable(ConnectorError):
    """The tool cannot answer now. `after_ms` is how long it asked us to wait (0: it did not say).

    `sent` is False only when the request certainly never reached the tool.
    """

    def __init__(self, why: str, *, after_ms: int = 0, sent: bool = True) -> None:
        super().__init__(why)
        self.after_ms = after_ms
        self.sent = sent


class Denied(ConnectorError):
    """Credentials, scopes or the pinned account are wrong: a person has to act."""


class WebhookRefused(ConnectorError):
    """A webhook request that is not taken as it stands."""


class Forged(WebhookRefused):
    """The signature is missing or wrong: nobody we know sent this."""


class Stale(WebhookRefused):
    """Rightly signed, but outside of the vendor's time window. `hints` say what to read again."""

    def __init__(self, why: str, hints: Sequence[Hint] = ()) -> None:
        super().__init__(why)
        self.hints = tuple(hints)


class Malformed(WebhookRefused):
    """Rightly signed, and yet not what the vendor documents."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who made a change, as the tool tells it. `via` names the app or screen."""

    kind: Literal["person", "app", "system", "hub", "unknown"] = "unknown"
    id: str = ""
    via: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One record as the tool showed it, in the tool's own terms.

    `app` holds the tool's fields under the names that the object's field map knows; a name that is
    not in `app` was not covered by this reading. `start_ms` and `end_ms` are the interval of the
    read by the hub's clock (the `Api` reports it); `source_ms` is the tool's own modified time.
    `revision` grows with every change of the record, where the tool has such a number; a time
    stamp is no revision unless the tool guarantees that it moves with every change.
    `links` are associations as the tool states them, by entity: native ids; an entity that is not
    named was not covered. `aliases` are other native ids that mean this record (merges, renames).
    `asked` is what it was asked for by, where that is no id of the record but something that may
    pass to another record one day (an e-mail address): it closes hints and is not remembered.
    `snapshot`: nobody knows when its values were typed, as in a first listing; of a value that was
    known before, a change is one all the same.
    """

    object: str
    native_id: str
    app: Mapping[str, Json]
    start_ms: int
    end_ms: int
    state: State = "live"
    revision: int | None = None
    source_ms: int | None = None
    created_ms: int | None = None
    external_id: str = ""
    actor: Actor = Actor()
    unknown: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[Entity, tuple[str, ...]] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    raw: bytes = b""
    asked: str = ""
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of readings. `cursor` continues after it; `done` says that nothing is left for now.

    A cursor is opaque text. A page that is not `done` must have moved the cursor. `broken` holds
    items that could not be understood, each with the reason: they are parked, the rest goes on.
    `expired` says that the cursor given was older than the vendor's horizon: do a full pass.
    """

    readings: tuple[Reading, ...]
    cursor: str
    done: bool
    broken: tuple[tuple[str, bytes], ...] = ()
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Hint:
    """A webhook's news: this record changed, read it again. `key` deduplicates redeliveries.

    News of our own write need not be read. `cause`: the key of the write that made the change,
    where the tool says so. `shows`: (field of the tool, value), where it says that our own app
    made it so, and nothing else.
    """

    object: str
    native_id: str
    key: str
    kind: str = "changed"
    source_ms: int | None = None
    cause: str = ""
    shows: tuple[tuple[str, str], ...] = ()


# Of the keys of hints those that a webhook has brought, and whose record was read since, or by us.
Known = Callable[[Sequence[str]], frozenset[str]]


def nothing_known(_keys: Sequence[str]) -> frozenset[str]:
    """No webhook has ever come."""
    return frozenset()


@dataclass(frozen=True, slots=True)
class Write:
    """One planned write, in the tool's own terms: only what differs, never a whole record.

    `changes` maps the tool's field names to values; None clears. `external_id` is the hub's id of
    the record, kept with the record where the tool has a place for it. `expected` is the revision
    the write is conditional on, where the tool can do that. `link` or `unlink` is an association
    to add or to remove: (entity, native id of the other end). It is all that its write holds: a
    tool that took the values and refused the association could not say so in one answer. `before`
    is what the tool held of the fields concerned when the write was planned: the elements of a set
    that differ from it are the ones to add and to remove, and what a field of several parts keeps
    is told by it.
    """

    op: Literal["create", "update"]
    native_id: str
    changes: Mapping[str, Json]
    external_id: str
    key: str
    expected: int | None = None
    link: tuple[Entity, str] | None = None
    unlink: tuple[Entity, str] | None = None
    before: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """An association goes by itself; raises ValueError."""
        if sum(map(bool, (self.changes, self.link, self.unlink))) > 1:
            raise ValueError("an association is a write of its own")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the tool made of one `Write`, as an instruction to the hub.

    done: applied; `reading` is the record as the tool answered it, where it did. What is only known
    from a read after the write goes through `read_back` first.
    retry: certainly not applied; try again after `after_ms`. `closed` (also with stop): the tool
    takes nothing at all now, so that no row behind this one is tried.
    stale: the record moved since `expected`; nothing was applied.
    rejected: the tool refuses these values; `why` is its reason, `fields` the fields it names.
    unknown: it may or may not be applied (time-out, 5xx): only a read-back settles it.
    stop: credentials or scopes; nothing was applied, nothing else will be.
    """

    outcome: Literal["done", "retry", "stale", "rejected", "unknown", "stop"]
    native_id: str = ""
    reading: Reading | None = None
    why: str = ""
    fields: tuple[str, ...] = ()
    after_ms: int = 0
    closed: bool = False


def read_back(later: Reading, write: Write) -> Reading:
    """What a read after a write tells of its answer: the fields that show what was sent, or before.

    Anything else may have been typed since; with its revision, a condition would not notice.
    """
    nothing = object()
    told = {
        name: value
        for name, value in later.app.items()
        if value in (write.changes.get(name, nothing), write.before.get(name, nothing))
    }
    return replace(later, app=told, revision=None)


@dataclass(frozen=True, slots=True)
class Account:
    """Whose data this is. `id` is pinned at first contact; "none" where a tool has none.

    `live`: None where the tool does not tell.
    """

    id: str
    live: bool | None
    name: str = ""
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object of a tool and what the tool can do with it. Times in milliseconds.

    `entity`: what its records are to us. `object`: what the tool calls it, as in every `Reading`.
    `fields`: how the tool's fields are ours. `links`: the entities that its records are associated
    with, which a reading states in `links`.
    `unique` names the canonical fields that the tool keeps unique, `required` those that no record
    of it is without. `external_ids`: a record has a place for the hub's id, by which `find` looks.
    `revisions`: readings carry one. `conditional`: writes can state the revision they expect.
    `lag_ms` is how long a read may show an older state than an earlier read or write did;
    `settle_ms` how long after a write its effects may still move.
    `changes_lag_ms`: how much later than it happened `changes` may show something, where a read by
    id shows it at once. `poll_ms`: changes are not asked for more often, whatever the settings say.
    `read_batch`, `write_batch`: how many ids or writes `read` and `write` are given at most.
    `webhook_events` are what to subscribe to. `echoes`: webhooks tell of our own writes like of
    anybody's, and do not say whose they are. `tells_deletions`: changes show what was deleted;
    elsewhere a webhook tells, or a read by id. `follows_merges`: an id that was merged away leads
    to the record that is left; elsewhere it is read as deleted.
    `log`: its records are what a log tells of them, in order. `changes` begins where the log does,
    its first page that is `done` ends the first reading, and neither `listing` nor `read` is asked:
    there is no sweep, and notes to read a record again are answered by what the log says next.
    Its readings carry a revision, but for one that only tells of another id. `writes`: it can be
    written to; elsewhere `find` and `write` are never asked, no record is created, and what differs
    from golden is only shown.
    """

    entity: Entity
    object: str
    fields: FieldMap
    unique: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    revisions: bool = False
    conditional: bool = False
    external_ids: bool = False
    lag_ms: int = 0
    settle_ms: int = 2_000
    changes_lag_ms: int = 0
    poll_ms: int = 0
    read_batch: int = 100
    write_batch: int = 1
    links: tuple[Entity, ...] = ()
    webhook_events: tuple[str, ...] = ()
    echoes: bool = False
    tells_deletions: bool = True
    follows_merges: bool = True
    log: bool = False
    writes: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """The account's budget by default: `calls` per `per_ms`, and simultaneous connections.

    `bare_403`: a 403 without a JSON body does not deny anything, it means too many calls.
    """

    calls: int
    per_ms: int
    connections: int = 4
    bare_403: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer below 500 that is not 429, 401 or 403-for-credentials, with its interval."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    start_ms: int
    end_ms: int

    def json(self) -> Json:
        """The body as JSON; raises `Unreadable` where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise Unreadable(f"the answer is not JSON: {error}", self.body) from error

    @property
    def server_ms(self) -> int:
        """The tool's own clock, to the second; ours where it does not tell its own.

        What is compared with the tool's time stamps never depends on how well our clock runs.
        """
        try:
            told = parsedate_to_datetime(self.headers.get("date", ""))
        except ValueError:
            return self.start_ms
        return round(told.timestamp() * 1000)


class Api(Protocol):
    """One account's HTTP client, made by the hub: base URL, credentials, budget, retries of reads.

    `get` and `search` may be repeated by it; `send` (anything that writes) never is: it raises
    `Unavailable` with `sent` telling whether the tool may have seen it. Paths begin with "/".
    `search` is a read that needs POST. `form` sends x-www-form-urlencoded pairs. `secrets` is what
    the credentials file holds, for tools that need more of it than headers. `pause` lets time pass
    before something that the tool does meanwhile is asked for again.
    """

    @property
    def secrets(self) -> Mapping[str, str]: ...

    def get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Reply: ...

    def search(self, path: str, json: Json) -> Reply: ...

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        form: Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply: ...

    def pause(self, ms: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Inbound:
    """A webhook request as it arrived: the full URL the vendor called, lower-case header names."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_ms: int


class Connector(Protocol):
    """A tool. Each folder beside `_kit` exports one instance as `connector.CONNECTOR`.

    `secrets` is what the credentials file holds, e.g. {"access_token": …, "client_secret": …};
    `secret_names` lists its names with a meaning that begins with "required: " or "optional: ";
    `synchub init`, `check` and `up` refuse a file that lacks a required one or holds another.
    """

    vendor: str
    title: str
    objects: tuple[ObjectSpec, ...]
    limits: Limits
    secret_names: Mapping[str, str]

    def base_url(self, secrets: Mapping[str, str]) -> str:
        """The vendor's real address (hub.yaml may override it).

        Raises ValueError, with words for a person, where the credentials lead to none.
        """

    def authorize(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """The headers that authenticate a request."""

    def account(self, api: Api) -> Account:
        """Whose account this is, read without side effects."""

    def check(self, api: Api) -> tuple[str, ...]:
        """What writes will miss in the tool, one line each, and who makes it; reads only.

        Of a declared tool, what of its declaration does not fit what it holds.
        """

    def prepare(self, api: Api) -> tuple[str, ...]:
        """Make in the tool what writes need (a place for our id); says what was made.

        Called by apply, never before.
        """

    def begin(self, api: Api, spec: ObjectSpec, now_ms: int) -> str:
        """The cursor of `changes` from which on nothing made after now is missed."""

    def listing(self, api: Api, spec: ObjectSpec, cursor: str) -> Page:
        """A page of all live records, from "" on: for the snapshot and the sweep."""

    def changes(
        self, api: Api, spec: ObjectSpec, cursor: str, known: Known = nothing_known
    ) -> Page:
        """A page of what changed since the cursor, deletions included where the tool tells.

        `known` saves reading a record for news that a webhook has brought already.
        """

    def read(self, api: Api, spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """These records, at most `spec.read_batch`; one that is gone comes back as `deleted`."""

    def find(self, api: Api, spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """Records that a create with an unknown outcome may have made (by external id, e-mail)."""

    def write(self, api: Api, spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """Send at most `spec.write_batch` writes; one answer each, in their order."""

    def hints(self, inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """Check the signature and the time window, then say what to read again.

        Raises `Forged`, `Stale` or `Malformed`. Unknown event types give hints of kind "other".
        """


@runtime_checkable
class Declares(Protocol):
    """A connector without objects of its own: hub.yaml declares them in `source`."""

    vendor: str

    def declared(self, source: Source, kinds: Kinds) -> Connector:
        """The connector of this source; `kinds` are those of our fields, by entity.

        Raises `Misdeclared` where the source cannot be followed.
        """


class OwnApi(Api, Protocol):
    """An `Api` of a connector's own; what else it can do is between the two."""

    def close(self) -> None:
        """Let go of the connections."""


@runtime_checkable
class Connects(Protocol):
    """A connector whose tool does not speak HTTP, and which brings its own `Api`."""

    def connect(self, secrets: Mapping[str, str], now: Callable[[], int]) -> OwnApi:
        """The way to the tool; opens no connection before it is used. `now`: the hub's clock (ms).

        Raises ValueError, with words for a person, where the credentials lead to none.
        """
