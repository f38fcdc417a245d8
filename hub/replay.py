"""Fold recorded inputs again, from nothing: for what-if, for verify, and to prove determinism."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from hub import recheck, resolve
from hub.env import Env, Hub
from hub.io import state
from hub.io.rows import Rows, Store
from hub.io.twin import DictStore
from hub.pure.model import Input, Observation, Receipt, Record, Uid

T = TypeVar("T")


class Still:
    """An `Env` in which nothing happens by itself: the inputs carry all the time there is."""

    def __init__(self, env: Env, store: Store) -> None:
        self.uid = env.uid
        self.store = store

    def now(self) -> int:
        """No time passes in a replay."""
        return 0

    def sleep(self, seconds: float) -> None:
        """Nobody to wait for."""

    def commit(self, work: Callable[[Rows], T], point: str) -> T:
        """See `Env`."""
        del point
        return self.store.transact(work)

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Env`."""
        return self.store.view(work)

    def wake(self, loop: str, at: int = 0) -> None:
        """Nobody to wake."""


def recorded(rows: Rows, hub: Hub) -> tuple[list[Record], list[Input]]:
    """The records as they were born, and every input that was folded into them."""
    births = [state.born(r) for r in rows.select("record", order=("local",))]
    return births, state.folded_inputs(rows, hub.vault)


def refold(hub: Hub, births: Iterable[Record], inputs: Sequence[Input], batch: int = 50) -> Store:
    """A store in which the inputs were folded anew, in the order given across records.

    Nothing is emitted or delivered. Inputs of one record must be in their sequence.
    """
    store = DictStore()
    still = replace(hub, env=Still(hub.env, store))
    store.transact(lambda rows: lay(rows, births))
    for start in range(0, len(inputs), batch):
        some = inputs[start : start + batch]
        store.transact(lambda rows: fold_some(rows, still, some))  # noqa: B023
    return store


def lay(rows: Rows, births: Iterable[Record]) -> None:
    """The rows of all records, with nothing folded yet."""
    for record in births:
        state.birth(rows, record)


def fold_some(rows: Rows, hub: Hub, some: Sequence[Input]) -> None:
    """One batch: what they say is decided and stored, and native ids are learned on the way."""
    for item in some:
        learn_alias(rows, item)
    effects = resolve.answer(rows, hub, some, ())
    resolve.project_all(rows, hub, effects)
    if onward := recheck.named_by(rows, resolve.relocated(rows, effects)):
        resolve.project_all(rows, hub, resolve.answer(rows, hub, (), onward))


def learn_alias(rows: Rows, item: Input) -> None:
    """The tool's id of a record, from the input that told it."""
    body = item.body
    native = body.native_id if isinstance(body, Observation | Receipt) else ""
    row = rows.get("record", uid=item.uid)
    if native and row and state.find_alias(rows, row["system"], row["object"], native) is None:
        state.add_alias(rows, row["system"], row["object"], native, item.uid)


def interleave(inputs: Sequence[Input], order: Sequence[Uid]) -> list[Input]:
    """The inputs with those of each record together, records in this order."""
    by_uid: dict[Uid, list[Input]] = {}
    for item in inputs:
        by_uid.setdefault(item.uid, []).append(item)
    return [item for uid in order for item in by_uid.get(uid, [])]
