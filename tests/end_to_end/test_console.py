"""The console in a real browser: every page at two widths, by keyboard, in light and in dark.

HUB_TEST_BROWSER names the browser's program; else one that is installed is taken, else
Playwright's own.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, expect, sync_playwright

from hub import browse, commands
from hub.browse import PAIRS
from hub.console.pages import PAGES
from hub.running import Running
from hub.status import status
from tests.end_to_end.conftest import Site, sites, up, wait
from tests.services import lacking

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip
INSTALLED = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 390)
SCRIPT = "<script>document.title='broken'</script><img src=x onerror=alert(1)>"
HOSTILE = {
    "script@x.example.com": SCRIPT,
    "right@x.example.com": "\u05e9\u05dc\u05d5\u05dd \u202eevil\u202c \u2066\u05e2\u05dd",
    "long@x.example.com": "W" * 300,
    "bell@x.example.com": "Be\x07ll \x1b[31m",
}


@pytest.fixture(scope="module")
def site_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Running, str]]:
    """A hub that has read two tools, hostile names among them, with nothing applied yet."""
    with sites(tmp_path_factory.mktemp("browser")) as make:
        site = make(40)
        for mail, name in HOSTILE.items():
            site.act("hubspot", "create", "contacts", email=mail, firstname=name, jobtitle=name)
        with up(site.folder) as (one, client):
            assert wait(lambda: settled(one), 60)
            yield site, one, str(client.base_url).rstrip("/")


def settled(one: Running) -> bool:
    """Whether everything is read and resolved, the hostile ones too."""
    told = status(one.opened.hub)
    read = not any(s["still_reading"] for s in told["systems"].values())
    known = browse.customers(one.opened.hub, "bell@x.example.com")["customers"]
    return bool(read and known and not told["pending_inputs"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a profile; without any the tests are skipped."""
    with sync_playwright() as play:
        made = launched(play)
        yield made
        made.close()


def launched(play: Playwright) -> Browser:
    """The browser that was named, or found."""
    named = os.environ.get("HUB_TEST_BROWSER") or next(
        filter(None, map(shutil.which, INSTALLED)), None
    )
    try:
        return play.chromium.launch(executable_path=named, args=FLAGS)
    except Error as error:
        lacking("browser", f"no browser starts ({named or 'none found'}): {error.message[:200]}")


@contextmanager
def looking(
    browser: Browser, base: str, width: int = 1280, scheme: str = "light"
) -> Iterator[Page]:
    """A page in a fresh context; whatever the browser complains of fails the test."""
    context = browser.new_context(base_url=base, viewport={"width": width, "height": 900},
                                  color_scheme="dark" if scheme == "dark" else "light")  # fmt: skip
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("dialog", lambda d: wrong.append(d.message))
    yield page
    context.close()
    assert wrong == []


def fits(page: Page) -> None:
    """The page is no wider than the window."""
    over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert over <= 0, f"{page.url} is {over} px too wide"


def every_path(one: Running) -> list[str]:
    """Every page, with ids where they are wanted."""
    hub = one.opened.hub
    customers = [browse.customers(hub, mail)["customers"][0]["golden"] for mail in HOSTILE]
    run = commands.plan(hub)["run"]
    found = [p.path for p in PAGES if "{" not in p.path]
    found += [f"/customers/{c}" for c in customers]
    return [
        *found,
        "/",
        f"/runs/{run}",
        "/sign-in",
        "/customers?q=www",
        "/drift?system=stripe",
        "/drift?word=rejected",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_is_quiet(
    site_up: tuple[Site, Running, str], browser: Browser, width: int, scheme: str
) -> None:
    """No page is wider than the window or lets the browser complain, whatever names there are."""
    _, one, base = site_up
    with looking(browser, base, width, scheme) as page:
        for path in every_path(one):
            page.goto(path)
            assert page.locator("h1").count() == 1, path
            assert page.title().endswith("· synchub"), path
            fits(page)
        light = (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)"
        )
        assert light == (scheme == "light")


def test_hostile_names_are_shown_as_they_are(
    site_up: tuple[Site, Running, str], browser: Browser
) -> None:
    """A script is text, and what cannot be seen is written out."""
    _, _, base = site_up
    with looking(browser, base) as page:
        for mail, name in HOSTILE.items():
            page.goto(f"/customers?q={mail}")
            link = page.locator("tbody th a")
            shown = link.inner_text()
            assert not any(c in shown for c in "\x07\x1b\u202e\u2066"), mail
            assert name[0] in shown
            assert "broken" not in page.title()
        assert page.locator("main script, main img[src=x]").count() == 0


def test_search_by_keyboard(site_up: tuple[Site, Running, str], browser: Browser) -> None:
    """A slash leads to the search, j to the first that is found, Enter opens it."""
    _, _, base = site_up
    with looking(browser, base) as page:
        page.goto("/")
        page.keyboard.press("/")
        page.keyboard.type("long@x.example.com")
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("#timeline")).to_be_visible()
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#keys")).to_be_hidden()
        page.keyboard.press("g")
        page.keyboard.press("r")
        expect(page.locator("h1")).to_have_text("Runs")
        page.goto("/")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()


def test_a_run_is_applied_and_seen_through_a_reload(
    site_up: tuple[Site, Running, str], browser: Browser
) -> None:
    """The plan is shown row by row, and its progress goes on where the page is loaded again."""
    _, one, base = site_up
    hub = one.opened.hub
    with looking(browser, base) as page:
        page.goto("/runs")
        page.get_by_role("button", name="Make a plan").click()
        expect(page.get_by_role("heading", name="Row by row")).to_be_visible()
        run = page.url.rpartition("/")[2]
        page.get_by_role("button", name="Apply").click()
        bar = page.locator("#live-run progress")
        expect(bar).to_be_visible()
        page.reload()
        expect(bar).to_be_visible()
        expect(page.locator("#how-far")).to_have_text("Through", timeout=90_000)
        told = commands.progress(hub, run)
        assert int(bar.get_attribute("value") or 0) == told["done"] > 0
        fits(page)


def test_a_pair_is_judged_by_keyboard(site_up: tuple[Site, Running, str], browser: Browser) -> None:
    """D says different, s says same; the pair is gone and the name of who judged is kept."""
    _, one, base = site_up
    hub = one.opened.hub
    before = commands.review(hub)["tasks"]
    assert len(before) > 1
    with looking(browser, base) as page:
        page.goto("/sign-in?next=/duplicates")
        page.get_by_label("Your name").fill("Grace")
        page.keyboard.press("Enter")
        expect(page.locator("article")).to_have_count(min(len(before), PAIRS))
        uid = browse.duplicates(hub)["tasks"][0]["customers"][0]["golden"]
        page.keyboard.press("j")
        page.keyboard.press("d")
        expect(page.locator(".note")).to_contain_text("different")
        assert wait(lambda: judged(one, uid, "different"), 20)
        assert len(commands.review(hub)["tasks"]) < len(before)
        page.goto(f"/customers/{uid}")
        expect(page.locator("section:has(#links)")).to_contain_text("Grace")
        page.goto("/duplicates")
        uid = browse.duplicates(hub)["tasks"][0]["customers"][0]["golden"]
        page.keyboard.press("j")
        page.keyboard.press("s")
        expect(page.locator(".note")).to_contain_text("same")
        assert wait(lambda: judged(one, uid, "same"), 20)


def judged(one: Running, uid: str, verdict: str) -> bool:
    """Whether Grace has said this of a customer."""
    told = browse.customer(one.opened.hub, uid).get("verdicts", [])
    return any("Grace" in v["by"] and v["verdict"] == verdict for v in told)


def test_a_parked_item_is_replayed(site_up: tuple[Site, Running, str], browser: Browser) -> None:
    """A webhook that nobody understood is shown with its reason, and tried again with r."""
    from connectors._kit.webhooks import sign  # noqa: PLC0415  for this test only

    _, one, base = site_up
    body = b"not json"
    with looking(browser, base) as page:
        stamp = int(time.time())
        answer = page.request.post(
            f"http://127.0.0.1:{one.webhooks.port}/webhooks/stripe", data=body,
            headers={"Stripe-Signature": sign("whsec_sandbox", stamp, body)})  # fmt: skip
        assert answer.status == 400
        assert wait(lambda: commands.parked(one.opened.hub)["parked"], 10)
        page.goto("/parked")
        item = page.locator("article", has_text="webhook").first
        expect(item.locator(".reason")).not_to_be_empty()
        item.focus()
        page.keyboard.press("r")
        expect(page.locator(".note")).to_contain_text("every record of stripe is read again")
        kinds = [p["kind"] for p in commands.parked(one.opened.hub)["parked"]]
        assert "webhook" not in kinds


def test_the_overview_follows_what_happens(
    site_up: tuple[Site, Running, str], browser: Browser
) -> None:
    """Without a reload the overview shows that somebody new was entered in a tool."""
    site, one, base = site_up
    with looking(browser, base) as page:
        page.goto("/")
        count = page.locator(".tiles a[href='/customers']")
        before = count.inner_text()
        site.act("hubspot", "create", "contacts", email="fresh@x.example.com", firstname="Fresh")
        assert wait(
            lambda: browse.customers(one.opened.hub, "fresh@x.example.com")["customers"], 30
        )
        expect(count).not_to_have_text(before, timeout=15_000)
