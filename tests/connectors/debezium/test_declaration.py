"""A source in hub.yaml is checked to the letter before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub import opening, settings, wiring
from hub.io import seal
from hub.opening import Folder
from hub.settings import BadSettings
from tests.connectors.debezium.tools import KINDS, source

DECLARED = """
systems:
  shop:
    vendor: debezium
    source:
      bootstrap: 127.0.0.1:1
      ca_file: ca.pem
      tables:
        customers:
          topic: shop.public.customers
          entity: person
          key: id
          fields:
            email: email
            name: {given: first_name, family: last_name}
"""


def put(folder: Path, text: str) -> Path:
    """A hub.yaml that says so."""
    path = folder / "hub.yaml"
    path.write_text(text)
    return path


def started(folder: Path, text: str) -> object:
    """What a start makes of it; raises `BadSettings`."""
    one = settings.load_hub(put(folder, text)).systems["shop"]
    return wiring.shaped("shop", one, KINDS, folder)


TABLE = "systems.shop.source.tables.customers"
WRONG = {
    "topic: topik:": f"line 10: {TABLE}.topik: unknown key; did you mean topic?",
    "person persons": f"line 11: {TABLE}.entity: ",
    "email: emial:": f"line 14: {TABLE}.fields.emial: rules.yaml has no field 'emial' of person; "
    "did you mean email?",
    "given: gven:": f"line 15: {TABLE}.fields.name.gven: name has no part 'gven'; did you mean",
    "shop.public.customers shop.transaction": "shop.transaction holds no rows",
    "debezium stripe": "line 5: systems.shop.source: Stripe has objects of its own",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_typo_stops_the_start(what: str, tmp_path: Path) -> None:
    """Line, key, and what may have been meant."""
    right, wrong = what.split()
    assert started(tmp_path, DECLARED)
    with pytest.raises(BadSettings) as error:
        started(tmp_path, DECLARED.replace(right, wrong))
    assert WRONG[what] in str(error.value)


def test_a_company_leads_to_a_table(tmp_path: Path) -> None:
    """The one that is of entity company."""
    text = DECLARED.replace("key: id", "key: id\n          company: firm")
    with pytest.raises(BadSettings, match="leads to the one table of entity company"):
        started(tmp_path, text)


def test_a_source_is_needed(tmp_path: Path) -> None:
    """The page that says what it holds is named."""
    text = DECLARED.split("    source:", maxsplit=1)[0]
    with pytest.raises(BadSettings, match=r"connectors/debezium/README\.md"):
        started(tmp_path, text)


def test_files_lie_beside_hub_yaml(tmp_path: Path) -> None:
    """And no file of credentials is needed where nothing is signed in to."""
    one = settings.load_hub(put(tmp_path, DECLARED)).systems["shop"]
    assert one.source
    assert one.source.beside(tmp_path).ca_file == str(tmp_path / "ca.pem")
    assert wiring.credentials(wiring.connector("debezium"), tmp_path / one.credentials) == {}


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """A rendered hub.yaml declares the same tables."""
    found = settings.load_hub(put(tmp_path, DECLARED))
    again = settings.load_hub(put(tmp_path, settings.render_hub(found)))
    assert again == found


def test_a_description_of_sandboxes_may_declare_a_source(tmp_path: Path) -> None:
    """`init` says what is wrong with it before it asks anybody."""
    path = tmp_path / "described.json"
    path.write_bytes(b'{"shop": {"vendor": "debezium", "auth": {}, "source": {"tables": {}}}}')
    with pytest.raises(BadSettings, match=r"source\.bootstrap: Field required"):
        opening.read_description(path)


def test_check_tells_what_is_wrong_with_one_system_only(tmp_path: Path) -> None:
    """The others are asked all the same."""
    folder = Folder(tmp_path / "hub")
    folder.path.mkdir()
    found = settings.HubSettings.model_validate(
        {"systems": {n: {"vendor": "debezium", "source": source()} for n in ("one", "two")}}
    )
    (folder.path / "hub.yaml").write_text(settings.render_hub(found))
    rules = settings.render_rules(settings.default_rules(("one", "two")))
    (folder.path / "rules.yaml").write_text(
        rules.replace("    phone: {kind: phone", "    fon: {kind: phone")
    )
    seal.make_master(folder.path / opening.MASTER, bytes)
    checked = opening.check(folder)
    assert len(checked.wrong) == 2
    assert "two: " in checked.wrong[1]
    assert "rules.yaml has no field 'phone' of person" in checked.wrong[1]
