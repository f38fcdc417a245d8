"""The one way to the tables: what a transaction can do, said once for every store.

Every step of the path reads and writes through `Rows`; whether SQLite, PostgreSQL or the plain
dict twin lies behind it is decided in `hub/wiring.py`. A row is a dict of the columns in
`hub/io/tables.py`. All stores give the same answers and the same refusals:

    Conflict    another row has this key          the caller lost a race: adopt the other row
    Refused     no database would take this       the caller is wrong: park it, mend the code
    StoreFull   nothing of the transaction kept   the machine is wrong: try later

After Conflict and Refused the transaction goes on as if the call had not been made. After
StoreFull it is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Row = dict[str, Any]
Uid = str  # in canonical form, see hub/io/tables.py
T = TypeVar("T")
PAGE = 500
Op = Literal["in", "lt", "le", "gt", "ge", "ne"]


class Conflict(Exception):
    """A row with this primary or unique key exists."""

    def __init__(self, table: str, why: str) -> None:
        """`table` is where; `why` names the columns."""
        super().__init__(f"{table}: {why}")
        self.table = table
        self.why = why


class Refused(Exception):
    """No database would do this: unknown name, wrong type, null where none may be, a bad key."""


class StoreFull(Exception):
    """The disk is full or broken: nothing of the transaction was kept."""


class Again(BaseException):
    """Somebody else holds a record: the store runs the work anew, holding all of them at first.

    No work may swallow it, as little as a KeyboardInterrupt.
    """


@dataclass(frozen=True, slots=True)
class Cond:
    """One condition on a column, other than being equal to a value."""

    op: Op
    value: Any


def among(values: Iterable[Any]) -> Cond:
    """One of these values; thousands are fine, None is refused."""
    return Cond("in", tuple(values))


def below(value: Any) -> Cond:
    """Less than; never true of a null."""
    return Cond("lt", value)


def at_most(value: Any) -> Cond:
    """Less or equal; never true of a null."""
    return Cond("le", value)


def above(value: Any) -> Cond:
    """Greater than; never true of a null."""
    return Cond("gt", value)


def at_least(value: Any) -> Cond:
    """Greater or equal; never true of a null."""
    return Cond("ge", value)


def unlike(value: Any) -> Cond:
    """Anything else, null included; `unlike(None)` is any value at all."""
    return Cond("ne", value)


class Rows(Protocol):
    """One open transaction. It is of no use once the work that got it has returned.

    `where` is {column: value | None | Cond}, all of them true at once; None means null. Wherever a
    row is given, columns left out take their default or null. Text and bytes compare by code
    point and byte; null comes before every value.

    Other transactions may run beside this one, and what they commit is seen by the next call. What
    belongs to a record (its row, inputs, link, keys, golden record) is written only by who holds
    it: others are refused.
    """

    @property
    def alone(self) -> bool:
        """Whether no other transaction ever runs beside this one."""

    def lock(self, uids: Iterable[Uid]) -> bool:
        """Hold these records until the transaction ends; what is read of them from now on stays.

        Returns whether what was read of them before may have changed since. A uid without a record
        is held as well. The work may be begun anew in here.
        """

    def number(self, series: str) -> int:
        """The next number of a series, from 1 on. Numbers may be left out, none comes twice."""

    def number_from(self, series: str, last: int) -> None:
        """The next number of a series comes after this one; no number was taken from it before."""

    def add(self, table: str, key: Row, column: str, n: int) -> None:
        """Add `n` to a column of the row with this primary key; one that is not there counts 0."""

    def time(self, own: int) -> int:
        """The store's own clock (ms), which all its processes share; `own` where it has none."""

    def insert(self, table: str, row: Row) -> Row:
        """Add a row; returns it with defaults and the generated key. Raises Conflict, Refused."""

    def insert_many(self, table: str, rows: Iterable[Row]) -> None:
        """Add all or none of them."""

    def upsert(self, table: str, row: Row) -> None:
        """Put this whole row in the place of the one with its primary key, or add it."""

    def upsert_many(self, table: str, rows: Iterable[Row]) -> None:
        """Put all or none of them, in order."""

    def update(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """Change columns outside of the primary key; returns how many rows matched."""

    def update_many(self, table: str, rows: Iterable[Row]) -> int:
        """Change all or none: each names its primary key and the same columns beside it.

        What is not there is passed over; returns how many were.
        """

    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        """Remove rows; `{}` is all of them; returns how many."""

    def get(self, table: str, /, **key: Any) -> Row | None:
        """The row with this primary or unique key, named in full."""

    def select(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
        only: Sequence[str] = (),
        *,
        keep: bool = False,
    ) -> list[Row]:
        """Rows in this order ("-name" is descending), equal ones by primary key.

        `only` these columns are read, where some are named. `keep`: nobody else changes these rows
        until the transaction ends; who does so always takes them in the same order, records first.
        """

    def count(
        self, table: str, where: Mapping[str, Any] | None = None, most: int | None = None
    ) -> int:
        """How many rows match; it stops at `most`, so that a look takes no longer than that."""


def paged(
    rows: Rows, table: str, key: Sequence[str], where: Mapping[str, Any] | None = None
) -> Iterator[list[Row]]:
    """All rows that match, in the order of their primary `key`, a page of `PAGE` at a time.

    `where` may name columns of the key too, each with one value.
    """
    page = rows.select(table, where, key, PAGE)
    while page:
        yield page
        page = following(rows, table, key, where or {}, page[-1])


def following(
    rows: Rows, table: str, key: Sequence[str], where: Mapping[str, Any], last: Row
) -> list[Row]:
    """The next page after a row: first what shares the most of its key with it."""
    for at in reversed([at for at, name in enumerate(key) if name not in where]):
        shared = {name: last[name] for name in key[:at]}
        beyond = {**where, **shared, key[at]: above(last[key[at]])}
        if found := rows.select(table, beyond, key, PAGE):
            return found
    return []


class Alone:
    """What rows answer of themselves where no other transaction runs beside them."""

    alone = True

    def number(self: Rows, series: str) -> int:
        """See `Rows`."""
        row = self.get("meta", name=series)
        number = 1 + int(row["value"] if row else 0)
        self.upsert("meta", {"name": series, "value": str(number)})
        return number

    def number_from(self: Rows, series: str, last: int) -> None:
        """See `Rows`."""
        self.upsert("meta", {"name": series, "value": str(last)})

    def time(self, own: int) -> int:
        """See `Rows`."""
        return own


class Store(Protocol):
    """Where the rows live.

    A thread has at most one transaction open: inside of a work, another `transact` or `view` raises
    RuntimeError, as do `Rows` kept beyond their work.
    """

    def transact(self, work: Callable[[Rows], T]) -> T:
        """Run `work`: all of it is durable when this returns, none of it if it raises.

        Who has lost a race is run once more from the start, as if nothing had been; so a work does
        nothing that cannot be repeated.
        """

    def view(self, work: Callable[[Rows], T]) -> T:
        """Run `work` on one unchanging state; writing raises Refused."""

    def close(self) -> None:
        """Finish what was accepted, then let go of the file."""
