"""Who only follows changes ends up with what the account holds, whatever happened in between."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from connectors._kit.contract import Unavailable
from connectors.hubspot.connector import CONNECTOR, CONTACTS
from connectors.hubspot.portal import Portal, Record
from tests.connectors.hubspot.tools import Clock, DirectApi, new_sandbox

View = dict[str, Mapping[str, object]]


class Follower:
    """A copy of all live contacts, kept by a snapshot and by changes alone."""

    def __init__(self, api: DirectApi, clock: Clock) -> None:
        self.api = api
        self.clock = clock
        self.cursor = CONNECTOR.begin(api, CONTACTS, clock.now_ms)
        self.view: View = {}

    def step(self) -> bool:
        """Take one page; tells whether it was the last for now."""
        try:
            page = CONNECTOR.changes(self.api, CONTACTS, self.cursor)
        except Unavailable:
            self.clock.sleep(1_000)
            return False
        self.cursor = page.cursor
        for reading in page.readings:
            for old in reading.aliases:
                self.view.pop(old, None)
            if reading.state == "live":
                self.view[reading.native_id] = reading.app
            else:
                self.view.pop(reading.native_id, None)
        return page.done


def live(portal: Portal) -> list[Record]:
    """All live contacts."""
    return [r for r in portal.tables["contacts"].after(0) if not r.archived]


def happen(portal: Portal, dice: random.Random, now: int) -> None:
    """One random act by somebody else."""
    some = live(portal)
    act = dice.choice(["create", "create", "update", "update", "bulk", "archive", "merge"])
    if act == "create" or len(some) < 3:
        portal.create("contacts", {"email": f"p{dice.random()}@x.example"}, now, "CRM_UI")
    elif act == "update":
        own = dice.choice(some).id
        portal.update("contacts", own, {"phone": str(dice.random())}, now, "CRM_UI")
    elif act == "bulk":
        for record in some:
            portal.update("contacts", record.id, {"city": str(now)}, now, "IMPORT")
    elif act == "archive":
        portal.archive("contacts", dice.choice(some).id, now, "CRM_UI")
    else:
        one, two = dice.sample(some, 2)
        portal.merge("contacts", one.id, two.id, now, "CRM_UI")


@pytest.mark.parametrize("lag_ms", [0, 2_000, 30_000, 90_000])
def test_a_follower_converges(lag_ms: int) -> None:
    """Edits, bulk jobs, archivings and merges between pages, with an index up to 90 s behind."""
    dice, clock = random.Random(lag_ms), Clock()
    sandbox = new_sandbox(clock)
    sandbox.desk.lag_ms = lag_ms
    portal, api = sandbox.desk.portal, DirectApi(sandbox.handle, clock)
    follower = Follower(api, clock)
    for n in range(150):
        portal.create("contacts", {"email": f"start{n}@x.example"}, clock.now_ms, "IMPORT")
    for _ in range(250):
        if dice.random() < 0.5:
            happen(portal, dice, clock.now_ms)
        if dice.random() < 0.5:
            follower.step()
        clock.sleep(dice.choice([0, 1, 500, 3_000, 20_000]))
    clock.sleep(600_000)
    for _ in range(2):
        while not follower.step():
            clock.sleep(1_000)
        clock.sleep(600_000)
    names = CONTACTS.fields.app_names
    expected = {str(r.id): {n: r.properties.get(n) or None for n in names} for r in live(portal)}
    assert follower.view == expected
