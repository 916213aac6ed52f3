"""report.html in a real browser: it opens clean, reads well in every light, and no text in it can run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import documents
import pytest
from chromium import Browser, Page

from canaryctl.evidence.page import render_comparison_html, render_html

ROWS = (
    "[...document.querySelectorAll('tr.probe')].filter(row => !row.hidden)"
    ".map(row => row.querySelector('th').firstChild.textContent.trim())"
)
LIMIT = 150_000  # bytes


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of three runs and of a comparison."""
    folder = tmp_path_factory.mktemp("reports")
    candidate = documents.candidate()
    pages = {
        "passed": render_html(documents.deployed("split")),
        "candidate": render_html(candidate),
        "failed": render_html(documents.failed()),
        "compare": render_comparison_html(candidate["comparison"]),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture
def page(browser: Browser) -> Page:
    return browser.page()


def visible(page: Page, selector: str) -> bool:
    return bool(page.value(f"!!document.querySelector('{selector}')?.getClientRects().length"))


def focused(page: Page) -> Any:
    return page.value("document.activeElement.id || document.activeElement.textContent.trim()")


@pytest.mark.parametrize("name", ["passed", "candidate", "failed", "compare"])
@pytest.mark.parametrize(("look", "width", "scheme"), [
    ("light", 1200, "light"), ("dark", 1200, "dark"), ("narrow", 400, "light"),
])  # fmt: skip
def test_it_opens_clean_asks_for_nothing_and_fits(
    page: Page, reports: dict[str, Path], name: str, look: str, width: int, scheme: str
) -> None:
    path = reports[name]
    assert path.stat().st_size < LIMIT
    page.look(width=width, scheme=scheme)
    page.open(path.as_uri())
    page.screenshot(path.with_name(f"{name}-{look}.png"))
    assert page.console == []
    assert page.asked_for == [path.as_uri()]
    assert page.value("document.documentElement.scrollWidth") <= width
    dark = page.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(c => c < 60)")
    assert dark is (scheme == "dark")


def test_no_text_of_a_run_becomes_markup(page: Page, reports: dict[str, Path]) -> None:
    page.open(reports["failed"].as_uri())
    page.value("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.console == []
    assert page.value("document.querySelectorAll('img, iframe, object, embed, link').length") == 0
    assert page.value("document.scripts.length") == 1
    assert page.value("document.body.textContent").count(documents.ATTACK) >= 10


def test_what_is_not_the_pages_own_does_not_run(page: Page, reports: dict[str, Path]) -> None:
    page.open(reports["failed"].as_uri())
    page.value("document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.ran = 1\" id=x>x</p>'); x.click()")
    page.value(
        "(s => { s.textContent = 'window.ran = 1'; document.body.append(s); })(document.createElement('script'))"
    )
    assert page.value("window.ran") is None
    assert any("Content Security Policy" in line for line in page.console)


def test_buttons_search_and_address_filter_the_probes(page: Page, reports: dict[str, Path]) -> None:
    address = reports["failed"].as_uri()
    page.look()
    page.open(address)
    assert len(page.value(ROWS)) == 6
    page.click("button[data-filter=failed]")
    assert page.value(ROWS) == ["Workers Registered", "Docs"]
    assert page.value("document.querySelector('[data-filter=failed]').ariaPressed") == "true"
    assert page.value("document.getElementById('shown').textContent") == "2 of 6 shown"
    page.click("#search")
    page.type("502")
    assert page.value(ROWS) == ["Workers Registered"]
    assert page.value("location.hash") == "#filter=failed&q=502"
    page.open(address + "#filter=inconclusive")
    assert page.value(ROWS) == ["Training Lifecycle"]
    page.open(address + "#filter=flaky")
    assert page.value(ROWS) == ["Front Page"]
    page.open(address + "#filter=nonsense")
    assert len(page.value(ROWS)) == 6


def test_exchanges_open_by_themselves_where_a_probe_failed_and_all_at_once_on_demand(
    page: Page, reports: dict[str, Path]
) -> None:
    page.look()
    page.open(reports["failed"].as_uri())
    is_open = "[...document.querySelectorAll('#probes details')].map(d => d.open)"
    assert page.value(is_open) == [False, True, True, False, True]
    page.click("#expand")
    assert all(page.value(is_open))
    page.click("#expand")
    assert not any(page.value(is_open))


def test_colours_follow_the_system_until_the_button_says_otherwise(page: Page, reports: dict[str, Path]) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    page.look(scheme="dark")
    page.open(reports["passed"].as_uri())
    page.value("localStorage.clear()")
    page.open(reports["passed"].as_uri() + "#again")
    dark = page.value(back)
    page.click("#theme")
    light = page.value(back)
    assert light != dark
    page.look(scheme="light")
    assert page.value(back) == light
    page.click("#theme")
    assert page.value(back) == dark
    page.value("localStorage.clear()")


def test_the_keyboard_reaches_everything(page: Page, reports: dict[str, Path]) -> None:
    page.look()
    page.open(reports["passed"].as_uri())
    page.press("Tab")
    assert focused(page) == "Skip to the content"
    assert visible(page, "a.skip:focus")
    seen = []
    for _ in range(40):
        page.press("Tab")
        seen.append(focused(page))
        if page.value("document.activeElement.matches('#probes summary')"):
            break
    assert {"Probes", "theme", "All 4", "search", "expand"} <= set(seen)
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.press("Enter")
    assert page.value("document.activeElement.parentElement.open") is True


def test_without_its_script_everything_is_still_there(page: Page, reports: dict[str, Path]) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.look()
    page.open(reports["candidate"].as_uri())
    assert not visible(page, ".tools") and not visible(page, "#theme")
    assert len(page.value(ROWS)) == 4 and visible(page, ".lane svg rect") and visible(page, ".compare td")
    page.click("#probes summary")
    assert visible(page, "#probes pre")


def test_printing_shows_what_was_closed_and_filtered(page: Page, reports: dict[str, Path], tmp_path: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.look(media="print", scheme="dark")
    page.open(reports["candidate"].as_uri())
    assert visible(page, "#probes details:not([open]) pre")
    assert not visible(page, ".bar") and not visible(page, ".tools")
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    printed = page.call("Page.printToPDF", printBackground=True)
    assert len(printed["data"]) > 20_000
