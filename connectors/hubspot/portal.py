"""The account behind the sandbox: records, their search index, associations, events.

It keeps HubSpot's laws and knows nothing of HTTP. Records are versions laid over a seeded
population that is computed, not stored: what nobody edited costs nothing. Times are milliseconds,
ids are numbers; a law that is broken raises `Refusal`, and then nothing has changed.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge as merge_sorted
from typing import Final, Protocol

PRIMARY: Final = 1
PLAIN: Final = 279
MODIFIED: Final = {"contacts": "lastmodifieddate", "companies": "hs_lastmodifieddate"}
WORDS: Final = {"contacts": "contact", "companies": "company"}
TYPE_IDS: Final = {"contacts": "0-1", "companies": "0-2"}
_STAMPS: Final = frozenset({"createdate", "lastmodifieddate", "hs_lastmodifieddate"})
_OWN: Final = frozenset(
    {
        *_STAMPS,
        "hs_object_id",
        "hs_merged_object_ids",
        "hs_calculated_merged_vids",
        "hs_additional_emails",
    }
)
_TEXTS: Final = {
    "contacts": (
        "firstname",
        "lastname",
        "email",
        "phone",
        "mobilephone",
        "address",
        "city",
        "state",
        "zip",
        "country",
        "jobtitle",
        "company",
        "date_of_birth",
        "website",
        "lifecyclestage",
        "hs_lead_status",
        "salutation",
        "fax",
    ),
    "companies": (
        "name",
        "domain",
        "phone",
        "address",
        "address2",
        "city",
        "state",
        "zip",
        "country",
        "industry",
        "website",
        "description",
        "lifecyclestage",
    ),
}


class Refusal(Exception):
    """HubSpot says no. `context` names what it is about, each name with a list of texts."""

    def __init__(
        self,
        message: str,
        category: str = "VALIDATION_ERROR",
        status: int = 400,
        context: Mapping[str, list[str]] | None = None,
        *,
        whole: bool = False,
    ) -> None:
        super().__init__(message)
        self.category = category
        self.status = status
        self.context = dict(context or {})
        self.whole = whole


@dataclass(frozen=True, slots=True)
class Record:
    """One version of a record; `archived` is when, 0 while it is live. "" is a cleared value.

    `source` is what made this version: CRM_UI, INTEGRATION, IMPORT and so on.
    """

    id: int
    properties: Mapping[str, str]
    created: int
    updated: int
    archived: int = 0
    source: str = "IMPORT"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that webhooks tell; `extra` holds what only this kind of event says."""

    kind: str
    name: str
    id: int
    at: int
    source: str
    extra: Mapping[str, object]


class Seed(Protocol):
    """A computed population of one kind of record."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def last(self) -> int:
        """No id is above this one."""

    def get(self, record_id: int) -> Record | None:
        """The record with this id, as it was before anyone edited it."""

    def after(self, record_id: int) -> Iterator[int]:
        """All ids above this one, ascending."""

    def find(self, name: str, value: str) -> Iterable[int]:
        """Ids of records that may hold this unique value."""

    def modified(self, low: int, high: int) -> Iterable[int]:
        """Ids of records last modified in this interval, both ends included."""

    def ends(self, record_id: int) -> Iterable[int]:
        """Ids of the other kind that a record was associated with before anyone changed it."""


class Table:
    """The records of one kind: versions (when, record or None where it vanished) over a seed."""

    def __init__(self, seed: Seed, unique: Iterable[str]) -> None:
        self.seed = seed
        self.unique_names = set(unique)
        self.versions: dict[int, list[tuple[int, Record | None]]] = {}
        self.order: list[int] = []
        self.moved: list[tuple[int, int]] = []
        self.unique: dict[tuple[str, str], set[int]] = {}
        self.next = seed.last + 1

    @property
    def live(self) -> int:
        """How many live records there are."""
        now = (self.get(i) for i in self.versions)
        before = sum(self.seed.get(i) is not None for i in self.versions)
        return self.seed.count - before + sum(1 for r in now if r and not r.archived)

    def get(self, record_id: int) -> Record | None:
        """The record as it is now, live or archived."""
        versions = self.versions.get(record_id)
        return versions[-1][1] if versions else self.seed.get(record_id)

    def seen(self, record_id: int, at: int) -> Record | None:
        """The record as it was then: what a search index shows that runs behind."""
        versions = self.versions.get(record_id, [])
        past = [record for when, record in versions if when <= at]
        return past[-1] if past else self.seed.get(record_id)

    def history(self, record_id: int, name: str) -> list[tuple[str, int, str]]:
        """(value, when, source) of every value that a property had, the newest first."""
        first = self.seed.get(record_id)
        past = [(first.created, first)] if first else []
        found: list[tuple[str, int, str]] = []
        for when, record in [*past, *self.versions.get(record_id, [])]:
            value = record.properties.get(name, "") if record else ""
            if record and value != (found[0][0] if found else ""):
                found.insert(0, (value, when, record.source))
        return found

    def put(self, record_id: int, record: Record | None, now: int) -> None:
        """A new version; None where the record vanishes."""
        if record_id not in self.versions:
            self.versions[record_id] = []
            insort(self.order, record_id)
        self.versions[record_id].append((now, record))
        insort(self.moved, (now, record_id))
        self.next = max(self.next, record_id + 1)
        for pair in self.unique_values(record):
            self.unique.setdefault(pair, set()).add(record_id)

    def after(self, record_id: int) -> Iterator[Record]:
        """All records above this id that exist now, archived ones too, ascending."""
        edited = self.order[bisect_right(self.order, record_id) :]
        seeded = (i for i in self.seed.after(record_id) if i not in self.versions)
        for found in merge_sorted(edited, seeded):
            record = self.get(found)
            if record:
                yield record

    def holders(self, name: str, value: str) -> list[Record]:
        """Live records that hold a unique value now."""
        ids = {*self.unique.get((name, value), ()), *self.seed.find(name, value)}
        records = [self.get(i) for i in sorted(ids)]
        return [
            r for r in records if r and not r.archived and (name, value) in self.unique_values(r)
        ]

    def unique_values(self, record: Record | None) -> list[tuple[str, str]]:
        """What finds a record: its unique properties, and secondary e-mails as well."""
        if record is None:
            return []
        held = [(name, record.properties.get(name, "")) for name in self.unique_names]
        if "email" in self.unique_names:
            more = record.properties.get("hs_additional_emails", "")
            held += [("email", mail) for mail in more.split(";")]
        return [pair for pair in held if pair[1]]

    def candidates(self, low: int, high: int) -> list[int]:
        """Ids of all records that may have been modified in an interval."""
        edits = self.moved[
            bisect_left(self.moved, (low, 0)) : bisect_left(self.moved, (high + 1, 0))
        ]
        return sorted({*(i for _, i in edits), *self.seed.modified(low, high)})


def _property(name: str, kind: str = "string", **more: object) -> dict[str, object]:
    """A property's definition with everything that HubSpot and its SDK expect."""
    own = name in _OWN
    return {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "type": kind,
        "fieldType": {"datetime": "date", "number": "number"}.get(kind, "text"),
        "description": "",
        "groupName": "information",
        "options": [],
        "displayOrder": -1,
        "calculated": False,
        "externalOptions": False,
        "hasUniqueValue": False,
        "hidden": False,
        "hubspotDefined": True,
        "formField": not own,
        "archived": False,
        "createdAt": "2020-01-01T00:00:00.000Z",
        "updatedAt": "2020-01-01T00:00:00.000Z",
        "modificationMetadata": {
            "archivable": False,
            "readOnlyDefinition": True,
            "readOnlyValue": own,
        },
        **more,
    }


def _kind_of(name: str) -> str:
    return "datetime" if name in _STAMPS else "number" if name == "hs_object_id" else "string"


def _defined(kind: str) -> dict[str, dict[str, object]]:
    stamps = ("createdate", MODIFIED[kind], "hs_object_id", "hs_merged_object_ids")
    more = ("hs_calculated_merged_vids", "hs_additional_emails") if kind == "contacts" else ()
    return {n: _property(n, _kind_of(n)) for n in (*_TEXTS[kind], *stamps, *more)}


class Portal:
    """One account. Every act takes the time and its source: INTEGRATION, CRM_UI and so on."""

    def __init__(self, contacts: Seed, companies: Seed) -> None:
        self.tables = {"contacts": Table(contacts, ["email"]), "companies": Table(companies, [])}
        self.defined = {kind: _defined(kind) for kind in self.tables}
        self.groups: dict[str, dict[str, dict[str, object]]] = {
            kind: {"information": _group({"name": "information", "label": "Information"})}
            for kind in self.tables
        }
        self.links: dict[int, dict[int, frozenset[int]]] = {}
        self.merged: dict[tuple[str, int], int] = {}
        self.events: list[Event] = []

    # -- looking -------------------------------------------------------------------------------

    def current(self, kind: str, record_id: int) -> int:
        """The id that an id means today: merges lead on, also through chains."""
        while (kind, record_id) in self.merged:
            record_id = self.merged[kind, record_id]
        return record_id

    def get(self, kind: str, record_id: int, *, archived: bool = False) -> Record | None:
        """A record by an id it has or had, if it is live (or archived, where asked for)."""
        record = self.tables[kind].get(self.current(kind, record_id))
        return record if record and bool(record.archived) == archived else None

    def live(self, kind: str, record_id: int) -> Record:
        """A live record; raises `Refusal` where there is none."""
        record = self.get(kind, record_id)
        if record is None:
            raise Refusal(
                f"Object not found: {record_id}", "OBJECT_NOT_FOUND", 404, {"ids": [str(record_id)]}
            )
        return record

    def companies_of(self, contact_id: int) -> dict[int, frozenset[int]]:
        """The live companies of a contact with the types of association."""
        held = self._links(contact_id)
        return {c: types for c, types in held.items() if self.get("companies", c)}

    def contacts_of(self, company_id: int) -> dict[int, frozenset[int]]:
        """The live contacts of a company with the types, seen from the contact."""
        edited = (c for c, ends in self.links.items() if company_id in ends)
        near = {*edited, *self.tables["companies"].seed.ends(company_id)}
        found = {c: self._links(c).get(company_id) for c in sorted(near)}
        live = self.tables["contacts"]
        return {c: t for c, t in found.items() if t and (r := live.get(c)) and not r.archived}

    def _links(self, contact_id: int) -> dict[int, frozenset[int]]:
        """A contact's associations: as changed, else as the population has them."""
        if contact_id in self.links:
            return self.links[contact_id]
        ends = self.tables["contacts"].seed.ends(contact_id)
        return dict.fromkeys(ends, frozenset({PRIMARY, PLAIN}))

    # -- writing -------------------------------------------------------------------------------

    def create(self, kind: str, given: Mapping[str, object], now: int, source: str) -> Record:
        """A new record; a contact's e-mail and unique properties must be free."""
        table = self.tables[kind]
        values = self.checked(kind, given, 0)
        record = self._stamped(kind, Record(table.next, values, now, now, source=source), now)
        table.put(record.id, record, now)
        self._tell(kind, "creation", record.id, now, source)
        self._changed(kind, record.id, values, now, source)
        return record

    def update(
        self, kind: str, record_id: int, given: Mapping[str, object], now: int, source: str
    ) -> Record:
        """New values for some properties; equal ones do not count as a change."""
        before = self.live(kind, record_id)
        values = self.checked(kind, given, before.id)
        moved = {k: v for k, v in values.items() if v != before.properties.get(k, "")}
        if not moved:
            return before
        held = {**before.properties, **moved}
        after = replace(before, properties=held, updated=now, source=source)
        after = self._stamped(kind, after, now)
        self.tables[kind].put(before.id, after, now)
        self._changed(kind, before.id, moved, now, source)
        return after

    def archive(self, kind: str, record_id: int, now: int, source: str) -> None:
        """Into the bin; the modified time stays as it is, and an absent record is no error."""
        record = self.get(kind, record_id)
        if record:
            self.tables[kind].put(record.id, replace(record, archived=now), now)
            self._tell(kind, "deletion", record.id, now, source)

    def restore(self, kind: str, record_id: int, now: int, source: str) -> None:
        """Out of the bin, if it is in there."""
        record = self.get(kind, record_id, archived=True)
        if record:
            self.tables[kind].put(record.id, replace(record, archived=0), now)
            self._tell(kind, "restore", record.id, now, source)

    def erase(self, kind: str, record_id: int, now: int, source: str) -> None:
        """Gone for good, which webhooks tell twice."""
        record = self.live(kind, record_id)
        self.tables[kind].put(record.id, None, now)
        if kind == "contacts":
            self.links[record.id] = {}
        self._tell(kind, "privacyDeletion", record.id, now, source)
        self._tell(kind, "deletion", record.id, now, source)

    def merge(self, kind: str, primary: int, other: int, now: int, source: str) -> Record:
        """Two records become a third one with a new id, to which the old ids lead."""
        first, second = self.live(kind, primary), self.live(kind, other)
        if first.id == second.id:
            raise Refusal("Cannot merge an object with itself")
        table = self.tables[kind]
        values = _joined(kind, first, second, now)
        record = Record(table.next, values, min(first.created, second.created), now, source=source)
        record = self._stamped(kind, record, now)
        for old in (first, second):
            table.put(old.id, None, now)
            self.merged[kind, old.id] = record.id
        table.put(record.id, record, now)
        self._move_links(kind, (first.id, second.id), record.id)
        self._tell(
            kind,
            "merge",
            record.id,
            now,
            source,
            primaryObjectId=first.id,
            mergedObjectIds=[first.id, second.id],
            newObjectId=record.id,
            numberOfPropertiesMoved=0,
        )
        return record

    def associate(self, contact: int, company: int, types: Iterable[int], now: int) -> None:
        """Add types of association; a contact's first company becomes the primary one."""
        for kind, end in (("contacts", contact), ("companies", company)):
            self.live(kind, end)
        contact, company = self.current("contacts", contact), self.current("companies", company)
        held = self.links[contact] = dict(self._links(contact))
        first = not any(PRIMARY in found for found in held.values())
        wanted = {*types, PLAIN, *([PRIMARY] if first else [])}
        if PRIMARY in wanted:
            self.links[contact] = held = {c: t - {PRIMARY} for c, t in held.items()}
        if not wanted <= held.get(company, frozenset()):
            held[company] = held.get(company, frozenset()) | wanted
            self._tell_link(contact, company, now, removed=False)

    def part(self, contact: int, company: int, now: int) -> None:
        """Remove every association between the two; having none is no error."""
        contact, company = self.current("contacts", contact), self.current("companies", company)
        held = dict(self._links(contact))
        if held.pop(company, None) is not None:
            self.links[contact] = held
            self._tell_link(contact, company, now, removed=True)

    def define(self, kind: str, given: Mapping[str, object], now_text: str) -> dict[str, object]:
        """A new property."""
        name = str(given.get("name", ""))
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise Refusal(f"Property name {name!r} is not allowed")
        if name in self.defined[kind]:
            raise Refusal(f"Property {name} already exists", "OBJECT_ALREADY_EXISTS", 409)
        if str(given.get("groupName")) not in self.groups[kind]:
            raise Refusal(f"Property group {given.get('groupName')} does not exist")
        made = _property(name, **{k: v for k, v in given.items() if k != "name"})  # type: ignore[arg-type]
        made |= {"hubspotDefined": False, "createdAt": now_text, "updatedAt": now_text}
        self.defined[kind][name] = made
        if made["hasUniqueValue"]:
            self.tables[kind].unique_names.add(name)
        return made

    def define_group(self, kind: str, given: Mapping[str, object]) -> dict[str, object]:
        """A new property group."""
        made = _group(given)
        if str(made["name"]) in self.groups[kind]:
            raise Refusal("Property group already exists", "OBJECT_ALREADY_EXISTS", 409)
        self.groups[kind][str(made["name"])] = made
        return made

    # -- laws ----------------------------------------------------------------------------------

    def checked(self, kind: str, given: Mapping[str, object], own: int) -> dict[str, str]:
        """The values as they will be stored; raises the first refusal."""
        unknown = [n for n in given if n not in self.defined[kind]]
        if unknown:
            raise _invalid(
                unknown[0],
                "PROPERTY_DOESNT_EXIST",
                f'Property "{unknown[0]}" does not exist',
                whole=True,
            )
        values = {name: _stored(name, value) for name, value in given.items()}
        for name, value in values.items():
            self._check(kind, name, value, own)
        return values

    def _check(self, kind: str, name: str, value: str, own: int) -> None:
        if name in _OWN:
            raise _invalid(name, "READ_ONLY_VALUE", f'"{name}" is a read only property')
        if kind == "contacts" and name == "email" and value:
            self._check_email(value, own)
        elif value and self.defined[kind][name]["hasUniqueValue"]:
            for other in self.tables[kind].holders(name, value):
                if other.id != own:
                    raise _invalid(
                        name, "CONFLICTING_UNIQUE_VALUE", f"{value} is already used by {other.id}"
                    )

    def _check_email(self, value: str, own: int) -> None:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", value):
            raise _invalid("email", "INVALID_EMAIL", f"Email address {value} is invalid")
        for other in self.tables["contacts"].holders("email", value):
            if other.id != own:
                message = f"Contact already exists. Existing ID: {other.id}"
                raise Refusal(message, "CONFLICT", 409)

    def _stamped(self, kind: str, record: Record, now: int) -> Record:
        own = {
            "createdate": iso(record.created),
            MODIFIED[kind]: iso(now),
            "hs_object_id": str(record.id),
        }
        return replace(record, properties={**record.properties, **own})

    def _move_links(self, kind: str, old: Sequence[int], new: int) -> None:
        if kind == "contacts":
            held = [self._links(i) for i in reversed(old)]
            self.links |= {i: {} for i in old}
            self.links[new] = {c: types for ends in held for c, types in ends.items()}
            return
        for contact in {c for i in old for c in self.contacts_of(i)}:
            ends = self._links(contact)
            types = frozenset[int]().union(*(ends.get(i, frozenset()) for i in old))
            kept = {c: t for c, t in ends.items() if c not in old}
            self.links[contact] = {**kept, new: types} if types else kept

    # -- events --------------------------------------------------------------------------------

    def _tell(
        self, kind: str, name: str, record_id: int, at: int, source: str, **extra: object
    ) -> None:
        self.events.append(Event(kind, name, record_id, at, source, extra))

    def _changed(
        self, kind: str, record_id: int, values: Mapping[str, str], at: int, source: str
    ) -> None:
        for name, value in values.items():
            self._tell(
                kind,
                "propertyChange",
                record_id,
                at,
                source,
                propertyName=name,
                propertyValue=value,
            )

    def _tell_link(self, contact: int, company: int, at: int, *, removed: bool) -> None:
        ends = {
            "contacts": ("CONTACT_TO_COMPANY", contact, company),
            "companies": ("COMPANY_TO_CONTACT", company, contact),
        }
        for kind, (words, start, end) in ends.items():
            self._tell(
                kind,
                "associationChange",
                start,
                at,
                "INTEGRATION",
                associationType=words,
                fromObjectId=start,
                toObjectId=end,
                associationRemoved=removed,
                isPrimaryAssociation=False,
            )


def iso(ms: int) -> str:
    """Milliseconds as HubSpot writes a time."""
    moment = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def _stored(name: str, value: object) -> str:
    """A value as HubSpot keeps it: text; e-mail addresses trimmed and in lower case."""
    if isinstance(value, list | dict):
        raise _invalid(name, "INVALID_VALUE", f"{name} must be text")
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text.strip().lower() if name == "email" else text


def _invalid(name: str, error: str, message: str, *, whole: bool = False) -> Refusal:
    """A validation error, with its list in JSON inside of the message, as HubSpot does."""
    flaw = {"isValid": False, "message": message, "error": error, "name": name}
    inside = json.dumps([flaw], separators=(",", ":"))
    context = {"propertyName": [name]}
    return Refusal(f"Property values were not valid: {inside}", context=context, whole=whole)


def _group(given: Mapping[str, object]) -> dict[str, object]:
    wanted = {"displayOrder": -1, **given, "archived": False}
    return {k: wanted[k] for k in ("name", "label", "displayOrder", "archived")}


def _joined(kind: str, first: Record, second: Record, now: int) -> dict[str, str]:
    """The merged values: the primary's, and the other's where it has none."""
    filled = {k: v for k, v in first.properties.items() if v}
    values = {**second.properties, **filled}
    chain = [r.properties.get("hs_merged_object_ids", "") for r in (first, second)]
    values["hs_merged_object_ids"] = ";".join([*filter(None, chain), f"{first.id};{second.id}"])
    if kind == "contacts":
        mails = [
            second.properties.get("email", ""),
            *(r.properties.get("hs_additional_emails", "") for r in (first, second)),
        ]
        values["hs_additional_emails"] = ";".join(m for m in mails if m and m != values["email"])
        values["hs_calculated_merged_vids"] = f"{first.id}:{now};{second.id}:{now}"
    return values
