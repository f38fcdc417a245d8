"""The console without a browser: its answers, its forms, who may send them, and bad input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote, urlencode

import httpx
import pytest

from hub import browse, commands
from hub.console.pages import PAGES
from hub.console.words import LEGEND
from hub.io import state
from hub.pure.compare import Word
from hub.running import Running
from hub.status import status
from tests.end_to_end.conftest import TOKEN, Site, set_private, sites, up, wait

HOSTILE = "<script>alert(1)</script>"
LISTS = ("/customers", "/duplicates", "/parked", "/drift", "/runs")
UNKNOWN = "01a21163-257c-7cde-80f2-32f55e738f00"
Up = tuple[Site, Running, httpx.Client]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A hub that has read everything and applied a run; one customer has a hostile name."""
    with sites(tmp_path_factory.mktemp("console")) as make:
        site = make(70)
        site.act("hubspot", "create", "contacts", email="mean@x.example.com", firstname=HOSTILE)
        with up(site.folder) as (one, client):
            hub = one.opened.hub
            assert wait(lambda: resolved(one), 60)
            commands.apply(hub, commands.plan(hub)["run"])
            assert wait(lambda: not commands.progress(hub, commands_run(one))["open"], 60)
            site.act("stripe", "delete", "customers", site.billed()[0]["id"])
            assert wait(lambda: commands.parked(hub)["parked"], 30)
            yield site, one, client


def resolved(one: Running) -> bool:
    """Whether everything is read and resolved."""
    told = status(one.opened.hub)
    read = not any(s["still_reading"] for s in told["systems"].values())
    return bool(read and told["customers"] and not told["pending_inputs"])


def commands_run(one: Running) -> str:
    """The latest run."""
    return str(browse.run_list(one.opened.hub)["runs"][0]["run"])


def origin(client: httpx.Client) -> dict[str, str]:
    """What a browser says when one of our pages asks."""
    return {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}


def form_token(client: httpx.Client, path: str = "/") -> str:
    """What a form of a page carries."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def post(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Send a form as a page of ours would."""
    given = {"csrf": form_token(client), **fields}
    return client.post(path, data=given, headers=origin(client))


def everything(client: httpx.Client, path: str, key: str, **query: str) -> list[dict[str, Any]]:
    """The lines of a list, page after page."""
    found: list[dict[str, Any]] = []
    after = None
    while after != "":
        answer = client.get(f"{path}.json", params={**query, "after": after or ""}).json()
        assert len(answer[key]) <= browse.PAGE
        found += answer[key]
        after = answer["next"] or ""
    return found


def paths(one: Running) -> list[str]:
    """Every page there is, with an id where one is wanted."""
    customer = browse.customers(one.opened.hub)["customers"][0]["golden"]
    ids = {"uid": customer, "run": commands_run(one)}
    return [page.path.format(**ids) for page in PAGES]


def test_every_page_has_its_json(console: Up) -> None:
    """What the JSON names is on the page, and the page says where its JSON is."""
    _, one, client = console
    for path in paths(one):
        page, answer = client.get(path), client.get(f"{path}.json")
        assert (page.status_code, answer.status_code) == (200, 200), path
        assert f'href="{path}.json"' in page.text
        assert "<h1>" in page.text
        named = re.findall(r'"(?:golden|run|task|item)": "([^"]+)"', answer.text)
        assert [n for n in named if n not in page.text] == [], path
    assert client.get("/").text.count("<h1>Overview") == 1


def test_nothing_is_said_inline(console: Up) -> None:
    """No page has a script, a style or a handler in it, and the policy allows none."""
    _, one, client = console
    for path in paths(one):
        page = client.get(path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        inline = r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:|https?://"
        assert re.findall(inline, page.text) == [], path
        for file in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
            assert client.get(file).status_code == 200


def test_what_a_tool_sent_is_escaped(console: Up) -> None:
    """A name that is a script is shown as it was typed, on every page that shows it."""
    _, _, client = console
    found = client.get("/customers.json", params={"q": "mean@x.example.com"}).json()["customers"]
    assert len(found) == 1
    for path in (f"/customers/{found[0]['golden']}", "/customers?q=alert"):
        page = client.get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert HOSTILE not in page


def test_search_finds(console: Up) -> None:
    """By address, by a tool's id, by part of a name; and what nobody has finds nobody."""
    site, one, client = console
    everybody = everything(client, "/customers", "customers")
    by_mail = {c["known_by"]: c for c in everybody if c["known_by"]}
    mail, known = next(iter(by_mail.items()))
    asked = {
        mail: known["golden"],
        site.billed()[1]["id"]: None,
        known["name"].lower(): known["golden"],
    }
    for q, uid in asked.items():
        answer = client.get("/customers.json", params={"q": q}).json()
        assert answer["customers"], q
        assert uid is None or uid in {c["golden"] for c in answer["customers"]}, q
    for q in (
        "nobody-of-this-name",
        "%",
        "'; drop table golden",
        "\x00\x1f",
        "x" * 5_000,
        HOSTILE * 50,
    ):
        assert client.get("/customers", params={"q": q}).status_code == 200
    nobody = client.get("/customers.json", params={"q": "nobody-of-this-name"}).json()
    assert nobody["customers"] == []
    assert nobody["looked_through"] == status(one.opened.hub)["customers"]


def test_pages_follow_each_other(console: Up) -> None:
    """Page after page shows each customer, pair, link and row of a run once."""
    _, one, client = console
    hub = one.opened.hub
    everybody = [c["golden"] for c in everything(client, "/customers", "customers")]
    assert len(everybody) == len(set(everybody)) == status(hub)["customers"] > browse.PAGE
    pairs = [t["task"] for t in everything(client, "/duplicates", "tasks")]
    assert sorted(pairs) == sorted(t["task"] for t in commands.review(hub)["tasks"])
    run = commands_run(one)
    rows = everything(client, f"/runs/{run}", "planned")
    assert [r["n"] for r in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == commands.plan(hub, run)["progress"]["rows"] > browse.PAGE
    links = [link["uid"] for link in everything(client, "/drift", "links", system="stripe")]
    assert len(links) == len(set(links))


def test_drift_is_shown_by_a_word(console: Up) -> None:
    """The page keeps the word that was chosen, and the links that lead on keep it too."""
    _, one, client = console
    (chosen, *_), system = browse.drift(one.opened.hub)["words"], list(one.opened.hub.systems)[1]
    asked = {"system": system, "word": chosen}
    page = client.get("/drift", params=asked).text
    assert f"<option selected>{chosen}</option>" in page
    assert f"/drift?{urlencode(asked).replace('&', '&amp;')}" in page
    told = client.get("/drift.json", params=asked).json()
    assert (told["word"], told["system"]) == (chosen, system)
    assert {c["word"] for link in told["links"] for c in link["cells"]} <= {chosen}


def test_a_customer_is_told_in_full(console: Up) -> None:
    """The golden values, what the tools hold and the timeline agree with the commands."""
    _, one, client = console
    hub = one.opened.hub
    uid = next(c["golden"] for c in everything(client, "/customers", "customers")
               if len(c["systems"]) == 2)  # fmt: skip
    told = client.get(f"/customers/{uid}.json").json()
    (explained,) = commands.explain(hub, uid)["customers"]
    assert told["fields"] == explained["fields"]
    assert {r["uid"] for r in told["records"]} == {r["uid"] for r in explained["records"]}
    assert all(len(held) == len(told["records"]) for held in told["side_by_side"].values())
    written = [t for t in told["timeline"] if t["kind"] == "write"]
    changed = [t["version"] for t in told["timeline"] if t["kind"] == "change"]
    (versions,) = commands.history(hub, uid)["customers"]
    assert changed == [v["version"] for v in reversed(versions["versions"])]
    intents = hub.env.view(lambda rows: rows.count("intent", {"golden": uid}))
    assert len(written) == intents
    times = [t["at"] for t in told["timeline"]]
    assert times == sorted(times, reverse=True)


def test_every_word_is_explained() -> None:
    """The legend holds the words of the comparison, all of them and no other."""
    assert set(LEGEND) == set(get_args(Word))


BAD = (
    ("/customers/x", 404), ("/customers/%00", 404), (f"/customers/{UNKNOWN}", 404),
    (f"/customers/{UNKNOWN.upper()}", 404), ("/customers/" + "9" * 4_000, 404),
    ("/customers?after=x", 400), ("/customers?after=%00", 400), ("/drift?after=1", 400),
    ("/drift?system=nope", 404), (f"/runs/{UNKNOWN}", 404), ("/runs/x", 404),
    ("/drift?word=agree", 400),
    ("/runs?after=999999999999999999999", 400), ("/nope", 404), ("/nope.json", 404),
    ("/customers/../../etc/passwd", 404), ("/static/../site.py", 404), ("/static/site.py", 404),
    ("/static/", 404), (f"/customers?after={UNKNOWN}", 200),
    (f"/duplicates?after={'z' * 900}", 400),
)  # fmt: skip


@pytest.mark.parametrize(("path", "code"), BAD)
def test_bad_input_gets_a_clear_answer(console: Up, path: str, code: int) -> None:
    """Ids, cursors and paths that nobody has given out: an answer that says what there is."""
    client = console[2]
    answer = client.get(path)
    assert answer.status_code == code
    if code != 200 and not path.startswith("/static") and ".json" not in path:
        assert "What there is" in answer.text
    base, _, query = path.partition("?")
    given = client.get(f"{base}.json?{query}")
    if not path.startswith(("/static", "/nope")):
        assert given.status_code == code
        assert ("error" in given.json()) == (code != 200)


def test_rows_and_versions_beyond_the_last(console: Up) -> None:
    """Numbers that no row and no version has end in an empty page or a refusal."""
    _, one, client = console
    run, golden = commands_run(one), everything(client, "/customers", "customers")[0]["golden"]
    assert client.get(f"/runs/{run}.json?after=99999999").json()["planned"] == []
    for bad in ("-1", "1e9", "\uff19", "1" * 30, "x", "%00"):
        assert client.get(f"/runs/{run}?after={bad}").status_code == 400
        assert client.get(f"/customers/{golden}?before={bad}").status_code == 400
    assert client.get(f"/customers/{golden}.json?before=0").json()["timeline"] == []


def test_forms_are_taken_from_our_own_pages_only(console: Up) -> None:
    """Another site, a missing or foreign token, no session: refused, and nothing is done."""
    _, one, client = console
    token, own = form_token(client), origin(client)
    bare = httpx.Client(base_url=client.base_url, trust_env=False)
    with bare:
        tries = [
            (client, own, {}),
            (client, own, {"csrf": "x"}),
            (client, own, {"csrf": form_token(bare)}),
            (client, {}, {"csrf": token}),
            (client, {**own, "origin": "http://evil.example"}, {"csrf": token}),
            (client, {**own, "origin": "null"}, {"csrf": token}),
            (client, {**own, "sec-fetch-site": "cross-site"}, {"csrf": token}),
            (client, {**own, "sec-fetch-site": "same-site"}, {"csrf": token}),
        ]
        for who, headers, fields in tries:
            answer = who.post("/stop-writes", data={"on": "yes", **fields}, headers=headers)
            assert answer.status_code == 403, (headers, fields)
        bare.cookies.clear()
        answer = bare.post("/stop-writes", data={"on": "yes", "csrf": token}, headers=own)
        assert answer.status_code == 403
    assert not status(one.opened.hub)["writes_stopped"]
    for path in ("/", "/customers", "/metrics", "/overview", "/nope"):
        assert client.post(path, data={"csrf": token}, headers=own).status_code == 405
    read = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    assert client.get("/overview.json", headers=read).status_code == 403
    assert client.get("/", headers={**read, "sec-fetch-mode": "navigate"}).status_code == 200


def test_forms_that_make_no_sense(console: Up) -> None:
    """A missing field, an unknown item, a body that is too long or no form: told, nothing done."""
    _, one, client = console
    before = commands.parked(one.opened.hub)
    for path, fields in (
        ("/stop-writes", {}), ("/duplicates", {"task": "x", "verdict": "same"}),
        ("/duplicates", {"task": "x", "verdict": "list"}),
        ("/parked", {"item": "x", "act": "replay"}),
        ("/parked", {"item": before["parked"][0]["id"], "act": "list"}),
        ("/parked", {"item": before["parked"][0]["id"], "act": "dismiss"}),
        ("/drift", {"system": "stripe"}), ("/sweep", {"system": "nope"}), ("/apply", {"run": "x"}),
        ("/drift", {"uid": "x", "system": "stripe"}),
    ):  # fmt: skip
        answer = post(client, path, **fields)
        assert answer.status_code in (400, 404), (path, fields)
        assert 'class="lead"' in answer.text
    own = {**origin(client), "content-type": "application/x-www-form-urlencoded"}
    assert client.post("/sweep", content=b"a=" + b"x" * 70_000, headers=own).status_code == 413
    many = b"&".join(b"a=1" for _ in range(300))
    assert client.post("/sweep", content=many, headers=own).status_code == 400
    assert client.post("/sweep", content=b"\xff\xfe", headers=own).status_code == 400
    assert commands.parked(one.opened.hub) == before


def test_the_switch_is_thrown_and_released(console: Up) -> None:
    """Every page says that writes are stopped, under the name of who stopped them."""
    _, one, client = console
    hub = one.opened.hub
    client.post("/sign-in", data={"who": "Ada <b>", "next": "/"}, headers=origin(client))
    assert post(client, "/stop-writes", on="yes").headers["location"] == "/"
    assert "Writes are stopped." in client.get("/customers").text
    assert "Ada &lt;b&gt;" in client.get("/customers").text

    def thrown_by(rows: Any) -> str:
        uid = state.find_alias(rows, "hub", "hub", "writes stopped")
        record = state.load_record(rows, uid or "")
        claim = record.cell("writes stopped").claim() if record else None
        return claim.actor.id if claim else ""

    assert hub.env.view(thrown_by) == "Ada <b>"
    told = client.get("/").text
    assert "Writes are stopped." in told
    post(client, "/stop-writes", on="no")
    assert "Writes flow again." in client.get("/").text
    assert "Writes flow again." not in client.get("/").text, "a note is said once"


def test_links_are_looked_at_again(console: Up) -> None:
    """Repair of one link, and a sweep of one system, are asked for."""
    _, one, client = console
    hub = one.opened.hub
    told = everything(client, "/customers", "customers")
    uid = client.get(f"/customers/{told[0]['golden']}.json").json()["records"][0]["uid"]
    answer = post(client, "/drift", uid=uid, system="hubspot", back=f"/customers/{uid}")
    assert answer.headers["location"] == f"/customers/{uid}"
    assert post(client, "/drift", uid=uid, system="x", back="//evil").headers["location"] == "/"
    note = hub.env.view(lambda rows: rows.get("hint", id=f"again:{uid}"))
    assert note is not None
    before = status(hub)["systems"]["stripe"]["counters"].get("sweeps", 0)
    assert post(client, "/sweep", system="stripe").status_code == 303
    assert wait(lambda: status(hub)["systems"]["stripe"]["counters"].get("sweeps", 0) > before, 30)


@pytest.mark.parametrize("then", ["//evil.example", "/\\evil.example", "https://evil.example", ""])
def test_signing_in_leads_nowhere_else(console: Up, then: str) -> None:
    """Where to go on after signing in is a path of this console."""
    client = console[2]
    answer = client.post("/sign-in", data={"who": "a", "next": then}, headers=origin(client))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_person_signs_in_with_the_token(make_site: Callable[..., Site]) -> None:
    """Without it a person is led to the sign-in page; with it they are known until they leave."""
    site = make_site(5)
    set_private(site.folder, admin_token_file="secrets/admin")
    secret = site.folder.path / "secrets" / "admin"
    secret.write_text(f"{TOKEN}\n")
    secret.chmod(0o600)
    with up(site.folder) as (_, client):
        page = {"accept": "text/html"}
        led = client.get("/runs?after=", headers=page)
        assert (led.status_code, led.headers["location"]) == (
            303,
            f"/sign-in?next={quote('/runs?after=', safe='')}",
        )
        assert client.get("/overview.json").status_code == 401
        shown = client.get(led.headers["location"])
        assert shown.status_code == 200
        assert 'name="next" value="/runs?after="' in shown.text
        assert "/duplicates" not in shown.text
        for file in re.findall(r'(?:src|href)="(/static/[^"]+)"', shown.text):
            assert client.get(file).status_code == 200
        own = origin(client)
        refused = client.post("/sign-in", data={"token": TOKEN + "x"}, headers=own)
        assert refused.status_code == 401
        assert "set-cookie" not in refused.headers
        assert client.post("/sign-in", data={"token": TOKEN}).status_code == 403
        done = client.post(
            "/sign-in", data={"token": TOKEN, "who": "Ada", "next": "/runs"}, headers=own
        )
        assert (done.status_code, done.headers["location"]) == (303, "/runs")
        cookie = done.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
        assert "Ada" in client.get("/runs", headers=page).text
        assert client.get("/metrics").status_code == 200
        name, value = next((n, v) for n, v in client.cookies.items() if "session" in n)
        for bad in (value[:-2], value + "x", "x." + value, value.replace(".", ""), "%C3%A9", ""):
            forged = [("accept", "text/html"), ("cookie", f"{name}={bad}")]
            with httpx.Client(base_url=client.base_url, trust_env=False) as other:
                assert other.get("/", headers=forged).status_code == 303, bad
        left = client.post("/sign-out", headers=own)
        assert left.status_code == 303
        assert client.get("/runs", headers=page).status_code == 303
        bearer = {"authorization": f"Bearer {TOKEN}", **page}
        assert client.get("/runs", headers=bearer).status_code == 200


def test_an_empty_hub_says_what_comes_next(make_site: Callable[..., Site]) -> None:
    """Before anything was applied the overview leads to a plan, and a plan can be made there."""
    site = make_site(8)
    with up(site.folder) as (one, client):
        assert wait(lambda: resolved(one), 60)
        page = client.get("/").text
        assert "Nothing has been written yet" in page
        assert "No run yet" in client.get("/runs").text
        made = post(client, "/runs").headers["location"]
        assert "Nothing is written yet" in client.get(made).text
        assert client.get(f"{made}.json").json()["progress"] is None
        assert site.served["stripe"].host.state()["calls"]["write"] == 0


def test_the_command_line_says_where_the_console_is(make_site: Callable[..., Site]) -> None:
    """`synchub up` prints an address that shows the overview."""
    site = make_site(5)
    site.up()
    log = Path(site.folder.path) / "up.log"  # it takes commands a moment before it prints
    assert wait(lambda: "console: " in log.read_text(), 10), log.read_text()
    found = re.search(r"console: (http://\S+)", log.read_text())
    assert found
    assert "Overview" in httpx.get(found[1], trust_env=False).text
    assert site.stop() == 0
