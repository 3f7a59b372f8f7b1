"""A real browser opens a report from disk: pictures are drawn, tables sort and filter, also by keyboard.

The browser is Chromium, from ``AMM_OPT_BROWSER`` or the path. With ``AMM_OPT_BROWSER_REQUIRED`` a browser that is not
there is a failure and no skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path() -> str:
    given = os.environ.get("AMM_OPT_BROWSER") or next(filter(None, map(shutil.which, NAMES)), "")
    if not given:
        missing = f"no browser: none of {', '.join(NAMES)} is on the path, and AMM_OPT_BROWSER is not set"
        if os.environ.get("AMM_OPT_BROWSER_REQUIRED"):
            pytest.fail(missing)
        pytest.skip(missing)
    return given


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = browser_path()
    if not os.environ.get("AMM_OPT_BROWSER_REQUIRED"):
        pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def address(reported: Path) -> str:
    return (reported / "report.html").as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """Wide and light; whatever the page says on the console, or asks anybody for, is a failure."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    said: list[str] = []
    opened.on("console", lambda message: said.append(f"console: {message.text}"))
    opened.on("pageerror", lambda error: said.append(f"error: {error}"))
    opened.on("request", lambda request: said.append(f"asks for {request.url}") if request.url != address else None)
    opened.goto(address)
    yield opened
    opened.close()
    assert said == []


def column(page: Any, name: str, k: int, attribute: str = "") -> list[str]:
    cells = page.locator(f"#table-{name} tbody tr:not([hidden]) td:nth-child({k + 1})")
    if not attribute:
        return list(cells.all_text_contents())
    return [str(cells.nth(i).get_attribute(attribute)) for i in range(cells.count())]


def test_pictures_are_drawn(page: Any) -> None:
    """Each has a size, ink in it, and a title for who does not see it."""
    drawn = page.locator(".drawing svg")
    assert drawn.count() >= 8
    for k in range(drawn.count()):
        box = drawn.nth(k).bounding_box()
        assert box["width"] > 300
        assert box["height"] > 150
        assert drawn.nth(k).locator("path").count() > 10
    named = page.locator('.drawing [role="img"]')
    assert all(named.nth(k).get_attribute("aria-label") for k in range(named.count()))


def test_tables_sort_by_number_and_by_text(page: Any) -> None:
    button = page.locator("#table-worst-off thead button", has_text="served ratio")
    button.click()
    up = [float(v) for v in column(page, "worst-off", 5, "data-key")]
    assert up == sorted(up)
    assert button.locator("..").get_attribute("aria-sort") == "ascending"
    button.click()
    down = [float(v) for v in column(page, "worst-off", 5, "data-key")]
    assert down == sorted(up, reverse=True)
    assert button.locator("..").get_attribute("aria-sort") == "descending"
    page.locator("#table-claims thead button", has_text="mechanism").click()
    assert column(page, "claims", 0) == ["amm", "equal_doe", "no_control"]


def test_tables_sort_and_filter_by_keyboard(page: Any) -> None:
    button = page.locator("#table-results thead button").first
    button.focus()
    page.keyboard.press("Enter")
    assert column(page, "results", 0) == ["amm", "equal_doe", "no_control"]
    page.keyboard.press("Space")
    assert column(page, "results", 0) == ["no_control", "equal_doe", "amm"]
    field = page.locator('.tools[data-for="worst-off"] input')
    every = len(column(page, "worst-off", 0))
    field.focus()
    page.keyboard.type("AMM import")
    shown = column(page, "worst-off", 0)
    assert 0 < len(shown) < every
    assert set(shown) == {"amm"}
    assert set(column(page, "worst-off", 1)) == {"import"}
    status = page.locator('.tools[data-for="worst-off"] .count')
    assert status.text_content() == f"{len(shown)} of {every} rows"
    field.fill("")
    assert len(column(page, "worst-off", 0)) == every


def test_dark_narrow_and_printed(page: Any) -> None:
    def colours() -> list[str]:
        return page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")

    def text_colour() -> str:
        return page.evaluate("getComputedStyle(document.querySelector('.drawing svg text')).fill")

    light, ink = colours(), text_colour()
    page.emulate_media(color_scheme="dark")
    dark, chalk = colours(), text_colour()
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(20, 23, 26)"
    assert (ink, chalk) == (light[1], dark[1])
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(media="print")
    assert not page.locator(".tools").first.is_visible()
    assert page.locator("#table-results").is_visible()
