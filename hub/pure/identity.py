"""When are two records one customer? Match keys that find pairs, and the evidence in a pair.

A record is found by every value that was ever *entered* there (claims), never by copies that the
hub wrote. Three outcomes for a pair: same, ask a steward, different (no edge). What a whole crowd
shares is no evidence, as long as it is one. `match_keys`, `tells` and `evidence` are the whole
interface: a better matcher replaces this file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from anyascii import anyascii

from hub.pure.model import Edge, Record, Value, edge
from hub.pure.rules import Rules


class Key(NamedTuple):
    """A blocking key: records that share one are compared."""

    entity: str
    kind: str
    text: str


def entered(record: Record, name: str) -> list[Value]:
    """Every standard value that somebody entered in a field, in the order of the claims."""
    claims = record.cell(name).claims
    return [c.value for c in claims if c.status == "effective" and c.value is not None]


@lru_cache(100_000)
def folded(text: str) -> str:
    """Letters and digits only, in lower-case ASCII: for comparing, never for showing."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in anyascii(plain).lower() if c.isalnum() or c == " ").strip()


def name_tokens(value: Value) -> frozenset[str]:
    """The words of a name, without single letters where there are longer ones."""
    words = folded(f"{value.get('given', '')} {value.get('family', '')}".replace("-", " ")).split()
    return frozenset(w for w in words if len(w) > 1) or frozenset(words)


def personal(mail: str, rules: Rules) -> bool:
    """Whether an address can stand for one person: role mailboxes cannot."""
    local = mail.partition("@")[0].partition("+")[0]
    return local not in rules.role_mailboxes


def match_keys(record: Record, rules: Rules) -> frozenset[Key]:
    """All keys under which the record is to be found."""
    found = person_keys if record.entity == "person" else company_keys
    declared = identifiers(record, rules)
    return frozenset(Key(record.entity, *key) for key in (*found(record, rules), *declared))


def identifiers(record: Record, rules: Rules) -> Iterator[tuple[str, str]]:
    """Declared keys: equal values make two records one."""
    for rule in rules.entities.get(record.entity, {}).values():
        if rule.identifier:
            yield from (("id:" + rule.name, str(v)) for v in entered(record, rule.name))


def person_keys(record: Record, rules: Rules) -> Iterator[tuple[str, str]]:
    """E-mail, phone, and the full name with postcode, birth date or company."""
    yield from (("email", m) for m in entered(record, "email") if personal(m, rules))
    phones = (*entered(record, "phone"), *entered(record, "mobile"))
    yield from (("phone", str(p)) for p in phones)
    full = {" ".join(sorted(name_tokens(n))) for n in entered(record, "name")}
    beside = [
        *(("postcode", folded(a["postcode"])) for a in entered(record, "address") if a["postcode"]),
        *(("birth", str(d)) for d in entered(record, "birth_date")),
        *(("company", folded(str(c))) for c in entered(record, "company_name")),
    ]
    yield from (
        ("name+" + kind, f"{line}|{text}")
        for line, (kind, text) in product(sorted(full), beside)
        if " " in line
    )


def company_keys(record: Record, _rules: Rules) -> Iterator[tuple[str, str]]:
    """The domain; the name for a question."""
    yield from (("domain", str(d)) for d in entered(record, "domain"))
    yield from (("company", folded(str(n))) for n in entered(record, "legal_name"))


SURE = ("email", "domain")


def sure(key: Key) -> bool:
    """Whether records that share it are one customer, unless their names say otherwise."""
    return key.kind in SURE or key.kind.startswith("id:")


def tells(key: Key, holders: int, rules: Rules) -> bool:
    """Whether sharing it tells anything: a switchboard's number is that of too many records."""
    return sure(key) or holders < rules.crowd


def evidence(one: Record, two: Record, keys: Iterable[Key]) -> Edge:
    """What the keys say that a pair shares."""
    shared = sorted(keys)
    certain = list(filter(sure, shared))
    words = ", ".join(sorted({f"same {k.kind.removeprefix('id:')}" for k in certain or shared}))
    if not certain:
        return edge(one.uid, two.uid, "evidence", "ask", why=words)
    if one.entity == "person" and names_clash(one, two):
        why = f"{words}, but the names share no word"
        return edge(one.uid, two.uid, "evidence", "ask", why=why)
    return edge(one.uid, two.uid, "evidence", "same", why=words)


def names_clash(one: Record, two: Record) -> bool:
    """Whether both have names and no word of them is shared."""
    first, second = _all_tokens(one), _all_tokens(two)
    return bool(first) and bool(second) and not (first & second)


def _all_tokens(record: Record) -> frozenset[str]:
    return frozenset(w for n in entered(record, "name") for w in name_tokens(n))
