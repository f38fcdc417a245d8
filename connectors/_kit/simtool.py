"""The simulated tool: a connector and its tool in one, nastier than the real ones.

It has what HubSpot and Stripe lack (consent, conditional writes, lag, truncation, automations,
merges that keep the winner's id) and can be told to fail in the ways that tools fail. It keeps an
outside log of every write and every person's edit, for monitors that do not trust the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from connectors._kit import fieldmap as fm
from connectors._kit.contract import (
    Account,
    Actor,
    Answer,
    Api,
    Entity,
    Hint,
    Inbound,
    Limits,
    Malformed,
    ObjectSpec,
    Page,
    Reading,
    State,
    Unavailable,
    Write,
)

PERSON, COMPANY = "people", "firms"
LINK_FAULTS = {
    "link refused": Answer("rejected", why="it takes no such association"),
    "link busy": Answer("retry", why="too many associations", after_ms=500),
    "link lost": Answer("unknown", why="nobody knows what became of the association"),
}
App = dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """How a simulated tool behaves. Times in ms.

    `truncates` cuts notes (declared in the field map); `shouts` upper-cases job titles without
    saying so; `reformats` is an automation that rewrites telephone numbers after every write;
    `ignores` and `refuses` name fields, `consents` the only consents that it has a place for, none
    meaning all. `skew_ms` is how far its clock is ahead of ours. `terse`: its changes show what
    changed and no other fields.
    """

    conditional: bool = False
    revisions: bool = False
    lag_ms: int = 0
    settle_ms: int = 1_000
    unique_email: bool = False
    external_ids: bool = True
    one_line_name: bool = False
    truncates: int = 0
    shouts: bool = False
    reformats: bool = False
    ignores: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    skew_ms: int = 0
    consents: frozenset[str] = frozenset()
    page: int = 3
    terse: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """One change of one field, as an outsider saw it. `who`: hub, person, automation.

    A create has one for the record, under the field "", and one for each field of it.
    """

    at: int
    who: str
    native_id: str
    field: str
    old: Any
    new: Any
    op: str = "update"
    external_id: str = ""
    object: str = PERSON


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A webhook to send now. It is told once; who misses it hears of it by no other."""

    id: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Held:
    """A record: its versions (time, fields or None when deleted), newest last."""

    object: str
    versions: list[tuple[int, App | None, int]]
    external_id: str = ""
    merged_into: str = ""
    aliases: list[str] = field(default_factory=list)

    def at(self, now: int) -> tuple[int, App | None, int]:
        """The version that a reader at this time is shown."""
        shown = [v for v in self.versions if v[0] <= now]
        return shown[-1] if shown else (self.versions[0][0], None, 0)


def consent_field(only: frozenset[str]) -> fm.Field:
    """Consent by channel and purpose: "out", or an opt-in with its proof."""

    def room(key: str) -> bool:
        return not only or key in only

    def take(app: fm.App) -> Any:
        return dict(app["consent"] or {})  # type: ignore[call-overload]

    def give(value: fm.Value) -> fm.App:
        held = value if isinstance(value, Mapping) else {}
        return {"consent": {k: v for k, v in held.items() if room(k)}}

    return fm.Field("consent", "consent", ("consent",), take, give, lossless=not only, room=room)


def person_map(profile: Profile) -> fm.FieldMap:
    """The fields of a person."""
    line = (
        fm.full_name("name", "full_name")
        if profile.one_line_name
        else fm.name("name", "first", "last")
    )
    parts = {p: f"addr_{p}" for p in fm.ADDRESS_PARTS}
    return fm.FieldMap(
        (
            line,
            fm.email("email", "mail"),
            fm.phone("phone", "tel"),
            fm.address("address", parts),
            fm.date("birth_date", "born"),
            fm.text("job_title", "title"),
            fm.text("note", "note", max_length=profile.truncates),
            fm.elements("tags", "labels"),
            fm.money("balance", "owes", "currency"),
            consent_field(profile.consents),
        )
    )


COMPANY_MAP = fm.FieldMap(
    (fm.text("legal_name", "name"), fm.text("domain", "site"), fm.phone("phone", "tel"))
)


class SimTool:
    """One simulated tool; see the module. `clock` gives ms since 1970."""

    limits = Limits(100_000, 1_000)
    secret_names: Mapping[str, str] = {}

    def __init__(self, name: str, clock: Callable[[], int], profile: Profile) -> None:
        self.vendor = self.title = self.name = name
        self.clock = clock
        self.profile = profile
        self.held: dict[str, Held] = {}
        self.changed: list[tuple[int, str, tuple[str, ...]]] = []
        self.news: list[Hint] = []
        self.log: list[Applied] = []
        self.faults: list[str] = []
        self.calls = {"read": 0, "write": 0}
        self.down = False
        self.people = self._spec(
            "person",
            PERSON,
            person_map(profile),
            links=("company",),
            unique=("email",) if profile.unique_email else (),
        )
        self.firms = self._spec("company", COMPANY, COMPANY_MAP)
        self.objects = (self.firms, self.people)

    def _spec(
        self,
        entity: Entity,
        obj: str,
        fields: fm.FieldMap,
        links: tuple[Entity, ...] = (),
        unique: tuple[str, ...] = (),
    ) -> ObjectSpec:
        p = self.profile
        return ObjectSpec(
            entity,
            obj,
            fields,
            unique,
            revisions=p.revisions,
            conditional=p.conditional,
            external_ids=p.external_ids,
            lag_ms=p.lag_ms,
            settle_ms=p.settle_ms,
            read_batch=10,
            write_batch=5,
            links=links,
            echoes=True,
        )

    # -- people at work in the tool ------------------------------------------------------------

    def act(
        self,
        native_id: str,
        fields: Mapping[str, Any],
        *,
        who: str = "person",
        obj: str = PERSON,
        external_id: str = "",
    ) -> str:
        """Somebody types these fields (the tool's own names), into a new record where none is."""
        now = self.clock()
        if native_id not in self.held:
            blank: App = {**dict.fromkeys(self._names(obj)), "firms": []}
            self.held[native_id] = Held(obj, [(now, None, 0)], external_id)
            self._note(native_id, who, {"": None}, {"": native_id}, "create", external_id)
            self._put(native_id, {**blank, **fields}, who, "create")
            return native_id
        current = self.latest(native_id) or {}
        self._put(native_id, {**current, **fields}, who)
        return native_id

    def _names(self, obj: str) -> tuple[str, ...]:
        return self.people.fields.app_names if obj == PERSON else COMPANY_MAP.app_names

    def _put(self, native_id: str, fields: App | None, who: str, op: str = "update") -> None:
        held = self.held[native_id]
        before = held.versions[-1][1] or {}
        stamp = max(self.clock(), held.versions[-1][0])
        held.versions.append((stamp, fields, held.versions[-1][2] + 1))
        changed = [k for k in fields or before if (fields or {}).get(k) != before.get(k)]
        self._note(
            native_id,
            who,
            {k: before.get(k) for k in changed},
            {k: (fields or {}).get(k) for k in changed},
            op,
        )
        self.changed.append((stamp, native_id, tuple(changed)))
        key = f"{native_id}:{len(self.changed)}"
        self.news.append(Hint(held.object, native_id, key, source_ms=stamp))

    def _note(
        self, native_id: str, who: str, old: App, new: App, op: str, external_id: str = ""
    ) -> None:
        obj = self.held[native_id].object
        self.log += [
            Applied(self.clock(), who, native_id, k, old[k], new[k], op, external_id, obj)
            for k in new
        ]

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every living record of an object as it is now, by id, past lag and counters."""
        return {i: self._now(i, 0, 0) for i in self.living(obj)}

    def latest(self, native_id: str) -> App | None:
        """What the tool holds now, None when it is gone."""
        return self.held[native_id].versions[-1][1]

    def living(self, obj: str = PERSON) -> list[str]:
        """The ids of the records that it has now."""
        return [
            i for i, h in self.held.items() if h.object == obj and h.versions[-1][1] is not None
        ]

    def delete(self, native_id: str) -> None:
        """A person deletes a record."""
        self._put(native_id, None, "person")

    def merge(self, loser: str, winner: str) -> None:
        """A person merges two records: the loser's id means the winner from now on."""
        self._put(loser, None, "person")
        self.held[loser].merged_into = winner
        self.held[winner].aliases.append(loser)
        self._put(winner, dict(self.latest(winner) or {}), "person")

    # -- the connector -------------------------------------------------------------------------

    def base_url(self, _secrets: Mapping[str, str]) -> str:
        """Nowhere."""
        return "http://simulated.invalid"

    def authorize(self, _secrets: Mapping[str, str]) -> Mapping[str, str]:
        """Nothing to show."""
        return {}

    def account(self, _api: Api) -> Account:
        """The account is the tool."""
        return Account(self.name, live=False)

    def _shown(self, native_id: str) -> Reading:
        start = self.clock()
        held = self.held.get(native_id)
        if held is not None and held.merged_into:
            native_id, held = held.merged_into, self.held.get(held.merged_into)
        if held is None:
            return Reading(PERSON, native_id, {}, start, self.clock(), state="deleted")
        stamp, fields, revision = held.at(start - self.profile.lag_ms)
        state: State = "live" if fields is not None else "deleted"
        app, links = parts_of(held.object, fields)
        return Reading(
            held.object,
            native_id,
            app,
            start,
            self.clock(),
            state=state,
            revision=revision if self.profile.revisions else None,
            source_ms=stamp + self.profile.skew_ms,
            external_id=held.external_id,
            actor=Actor("person"),
            aliases=tuple(held.aliases),
            links=links,
        )

    def _read_many(self, ids: Iterable[str]) -> tuple[Reading, ...]:
        self.calls["read"] += 1
        if self.down:
            raise Unavailable(f"{self.name} is down", sent=False)
        return tuple(self._shown(i) for i in ids)

    def check(self, _api: Api) -> tuple[str, ...]:
        """Nothing is missing."""
        return ()

    def prepare(self, _api: Api) -> tuple[str, ...]:
        """Nothing is missing."""
        return ()

    def begin(self, _api: Api, _spec: ObjectSpec, now_ms: int) -> str:
        """What a listing may not show yet comes as a change."""
        return str(sum(c[0] <= now_ms - self.profile.lag_ms for c in self.changed))

    def listing(self, _api: Api, spec: ObjectSpec, cursor: str) -> Page:
        """A page of the records that a reader sees now."""
        ids = [i for i, h in self.held.items() if h.object == spec.object and not h.merged_into]
        start = int(cursor or 0)
        some = ids[start : start + self.profile.page]
        readings = tuple(r for r in self._read_many(some) if r.state == "live")
        after = start + len(some)
        return Page(readings, str(after), done=after >= len(ids))

    def changes(self, _api: Api, spec: ObjectSpec, cursor: str, _known: object = None) -> Page:
        """Changes that are visible by now; a page repeats what lag may still have hidden."""
        start = int(cursor)
        some = self.changed[start : start + self.profile.page * 3]
        visible = [c for c in some if c[0] <= self.clock() - self.profile.lag_ms]
        moved: dict[str, set[str]] = {}
        for _, own, names in visible:
            if self.held[own].object == spec.object:
                moved.setdefault(own, set()).update(names)
        found = self._read_many(moved)
        if self.profile.terse:
            each = zip(found, moved.values(), strict=True)
            found = tuple(_only(spec, r, names) for r, names in each)
        after = start + len(visible)
        return Page(found, str(after), done=len(visible) < self.profile.page * 3)

    def read(self, _api: Api, _spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """These records; a merged one comes back under its winner's id."""
        found = self._read_many(ids)
        return tuple(
            r if r.native_id == i else _with_alias(r, i) for i, r in zip(ids, found, strict=True)
        )

    def find(self, _api: Api, spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """By external id where there is one, else by e-mail."""
        mail = write.changes.get("mail")
        ids = [
            i
            for i in self.living(spec.object)
            if (
                self.held[i].external_id == write.external_id
                if self.profile.external_ids
                else (self.latest(i) or {}).get("mail") == mail
            )
        ]
        return self._read_many(ids)

    def write(self, _api: Api, spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """Row by row, each with its own answer; an armed fault hits the whole request."""
        self.calls["write"] += 1
        fault = self._fault(writes)
        if self.down or fault == "busy":
            raise Unavailable("too many calls", after_ms=500, sent=False)
        if fault == "error before":
            raise Unavailable("failed before applying")
        linking = LINK_FAULTS.get(fault)
        answers = tuple(
            linking if linking and (w.link or w.unlink) else self._one(spec, w) for w in writes
        )
        if fault in ("answer lost", "error after"):
            raise Unavailable("failed after applying")
        return answers

    def _fault(self, writes: Sequence[Write]) -> str:
        """What this request meets: that of an association waits until there is one."""
        linking = any(w.link or w.unlink for w in writes)
        met = next((f for f in self.faults if linking or f not in LINK_FAULTS), "")
        if met:
            self.faults.remove(met)
        return met

    def _one(self, spec: ObjectSpec, write: Write) -> Answer:
        if refused := sorted(self.profile.refuses & {k for k, v in write.changes.items() if v}):
            return Answer("rejected", why=f"{refused[0]} is not allowed", fields=tuple(refused))
        if write.op == "create":
            return self._create(spec, write)
        held = self.held.get(write.native_id)
        if held is None or held.versions[-1][1] is None:
            return Answer("stale", why="gone")
        if write.expected is not None and write.expected != held.versions[-1][2]:
            return Answer("stale", why="it has moved")
        self._apply(write.native_id, write)
        return self._done(write.native_id)

    def _create(self, spec: ObjectSpec, write: Write) -> Answer:
        mail = write.changes.get("mail")
        twins = [i for i in self.living(spec.object) if (self.latest(i) or {}).get("mail") == mail]
        if self.profile.unique_email and mail and twins:
            return Answer("rejected", why=f"exists as {twins[0]}", fields=("mail",))
        native_id = f"{self.name}-{len(self.held) + 1}"
        external = write.external_id if self.profile.external_ids else ""
        self.act(
            native_id, self._altered({}, write), who="hub", obj=spec.object, external_id=external
        )
        self._automate(native_id, write)
        return self._done(native_id)

    def _apply(self, native_id: str, write: Write) -> None:
        current = dict(self.latest(native_id) or {})
        firms = {*(current.get("firms") or ()), *([write.link[1]] if write.link else ())}
        kept = {"firms": sorted(firms - {write.unlink[1] if write.unlink else ""})}
        self._put(native_id, {**current, **self._altered(current, write), **kept}, "hub")
        self._automate(native_id, write)

    def _altered(self, current: App, write: Write) -> App:
        given = {
            k: self._kept(v) for k, v in write.changes.items() if k not in self.profile.ignores
        }
        if "consent" in given:
            given["consent"] = {**(current.get("consent") or {}), **(given["consent"] or {})}
        if self.profile.shouts and given.get("title"):
            given["title"] = str(given["title"]).upper()
        return given

    def _automate(self, native_id: str, write: Write) -> None:
        number = str(write.changes.get("tel") or "")
        if self.profile.reformats and number:
            current = dict(self.latest(native_id) or {})
            self._put(native_id, {**current, "tel": f"{number[:2]} {number[2:]}"}, "automation")

    def _kept(self, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    def _done(self, native_id: str) -> Answer:
        return Answer("done", native_id, self._now(native_id, self.clock(), self.clock()))

    def _now(self, native_id: str, start: int, end: int) -> Reading:
        held = self.held[native_id]
        _, fields, revision = held.versions[-1]
        app, links = parts_of(held.object, fields)
        return Reading(
            held.object,
            native_id,
            app,
            start,
            end,
            revision=revision if self.profile.revisions else None,
            external_id=held.external_id,
            links=links,
        )

    # -- webhooks ------------------------------------------------------------------------------

    def due(self, _now_ms: int) -> list[Outgoing]:
        """Its news, each as a request of its own."""
        told, self.news = self.news, []
        return [
            Outgoing(h.key, "POST", f"/webhooks/{self.name}", {}, orjson.dumps(h)) for h in told
        ]

    def hints(self, inbound: Inbound, _secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """What a request says; nothing is signed here."""
        try:
            return (Hint(**orjson.loads(inbound.body)),)
        except (orjson.JSONDecodeError, TypeError) as error:
            raise Malformed(f"no news of a simulated tool: {error}") from error


def parts_of(obj: str, fields: App | None) -> tuple[App, Mapping[Entity, tuple[str, ...]]]:
    """What a record holds, and what it is associated with; of one that is gone nothing is told."""
    app = dict(fields or {})
    firms = tuple(app.pop("firms", None) or ())
    return app, {"company": firms} if obj == PERSON and fields is not None else {}


def _only(spec: ObjectSpec, reading: Reading, names: set[str]) -> Reading:
    """What it shows of the fields in which any of these has changed; a field is shown whole."""
    shown = {n for f in spec.fields.fields if names & {*f.app} for n in f.app}
    return replace(reading, app={n: v for n, v in reading.app.items() if n in shown})


def _with_alias(reading: Reading, alias: str) -> Reading:
    return replace(reading, aliases=tuple(dict.fromkeys([*reading.aliases, alias])))
