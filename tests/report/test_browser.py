"""The report in a real headless Chromium, without a network: it draws, filters, and lets no text become markup."""

import os
import shutil
from pathlib import Path

import pytest
from reportruns import noted, report_run, rescued, solved, two_arms, with_trace

from lte_jax.report.page.write import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e '.[browser]'")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium, or set CHROMIUM")

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'><b>bold</b>"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # no sandbox of its own: it needs rights that a container's root lacks; the page is our own file
        with driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as started:
            yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    runs = [*two_arms(folder), report_run(folder / "hostile", "optim.lr=0.5", groups=hostile_groups)]
    write_report(runs, folder / "page.html")
    return folder / "page.html"


def hostile_groups(step: int) -> list:
    return [rescued(step, 0, HOSTILE), solved(step, 1, HOSTILE)]


@pytest.fixture
def page(browser, report):
    """The report, opened; the test fails where the console says anything."""
    with opened(browser, report, 1280) as (found, said):
        yield found
        assert said == []


class opened:
    """A report in a window of its own, drawn; and what its console said."""

    def __init__(self, browser, path: Path, width: int, scheme: str = "light"):
        self.context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True, reduced_motion="reduce"
        )
        self.path, self.said = path, []

    def __enter__(self):
        page = self.context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(self.path.as_uri())
        until(page, "performance.getEntriesByName('first-chart').length > 0")
        return page, self.said

    def __exit__(self, *exception) -> None:
        self.context.close()


def until(page, expression: str) -> None:
    """Waits until a JavaScript expression is true; playwright's own way needs eval, which the page's policy forbids."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def n_found(page) -> int:
    page.wait_for_timeout(300)  # typing is waited for
    return int(page.locator("#found").inner_text().split()[0].replace(",", ""))


def has_ink(page, place: int) -> bool:
    """Whether a chart's canvas has any pixel that is not empty."""
    return page.evaluate(
        """(place) => {
            const canvas = document.querySelectorAll(".panel canvas")[place];
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return data.some((value) => value > 0);
        }""",
        place,
    )


def picture(page, place: int) -> str:
    return page.evaluate("(place) => document.querySelectorAll('.panel canvas')[place].toDataURL()", place)


def test_charts_are_drawn_and_the_console_is_silent(page):
    assert page.locator(".panel").count() > 5
    assert has_ink(page, 0)


def test_every_panel_can_be_drawn(page):
    page.locator("#panels details summary").click()
    for place in range(page.locator(".panel").count()):
        page.locator(".panel").nth(place).scroll_into_view_if_needed()
    until(page, "document.querySelectorAll('.panel canvas').length === document.querySelectorAll('.panel').length")
    assert has_ink(page, page.locator(".panel canvas").count() - 1)


@pytest.mark.parametrize(("control", "value"), [("lines", "each"), ("over", "tokens"), ("over", "seconds")])
def test_a_choice_redraws_the_charts(page, control, value):
    before = picture(page, 0)
    page.locator(f"#{control}").select_option(value)
    page.wait_for_timeout(100)
    assert picture(page, 0) != before


def test_a_seed_can_be_taken_out_and_brought_back(page):
    before = picture(page, 0)
    seed = page.get_by_label("seed 1 of lte", exact=True)
    seed.click()
    page.wait_for_timeout(100)
    assert seed.get_attribute("aria-pressed") == "false" and picture(page, 0) != before
    seed.click()
    page.wait_for_timeout(100)
    assert seed.get_attribute("aria-pressed") == "true" and picture(page, 0) == before


def test_pointing_at_a_chart_says_mean_and_range(page):
    chart = page.locator(".panel .chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 25, box["y"] + 60)
    tip = page.locator(".tip:not([hidden])").inner_text()
    assert "steps" in tip and "lte: 0.45 (0.4–0.5)" in tip


def test_the_filters_choose(page):
    assert page.locator("[name=outcome]").input_value() == "rescued" and n_found(page) == 5 * 6
    page.locator("[name=outcome]").select_option("")
    assert n_found(page) == 4 * 18 + 12
    page.locator("[name=run]").select_option("0")
    assert n_found(page) == 18
    page.locator("[name=from]").fill("3")
    page.locator("[name=to]").fill("4")
    assert n_found(page) == 6
    page.locator("[name=mode]").select_option("all_truncated")
    assert n_found(page) == 2
    page.locator("[name=mode]").select_option("")
    page.locator("[name=text]").fill("EASY")
    assert n_found(page) == 2
    page.locator("[name=text]").fill("nobody wrote this")
    assert n_found(page) == 0


def test_pages_turn(page):
    page.locator("[name=outcome]").select_option("")
    page.wait_for_timeout(300)
    assert page.locator(".group").count() == 20 and page.locator("#page").inner_text() == "page 1 of 5"
    page.locator("#next").click()
    assert page.locator("#page").inner_text() == "page 2 of 5"


def test_a_group_opens_to_failures_hint_and_rescue(page):
    page.locator(".group > summary").first.click()
    body = page.locator(".group .body").first.inner_text()
    assert "First attempts: 0 of 3 correct" in body and "answer 41" in body
    assert "a hint that lists 2 wrong answers" in body and "With it: 1 of 2 correct" in body
    assert page.locator(".hint .rollout[open] pre").first.inner_text() == "the hint helped"


def test_a_given_solution_stands_beside_the_attempts(browser, tmp_path):
    report_run(tmp_path / "run", n_steps=1, groups=lambda step: [with_trace()])
    write_report([tmp_path / "run"], tmp_path / "page.html")
    with opened(browser, tmp_path / "page.html", 1280) as (page, said):
        page.locator(".group > summary").first.click()
        given = page.locator(".group .hint").inner_text()
        assert "A given solution" in given and "trained" in given and "Tried again" not in given
        assert said == []


def test_a_note_stands_apart_and_a_response_says_what_was_given(browser, tmp_path):
    report_run(tmp_path / "run", n_steps=1, groups=lambda step: [noted()])
    write_report([tmp_path / "run"], tmp_path / "page.html")
    with opened(browser, tmp_path / "page.html", 1280) as (page, said):
        page.locator(".group > summary").first.click()
        note, tried = page.locator(".group .hint").all_inner_texts()
        assert "Notes, which are not graded" in note and "check the carry" in note and "correct" not in note
        assert "With it: 1 of 2 correct" in tried and "2 tokens, the first 1 given" in tried
        assert "Its own prompt" in tried and said == []


def test_the_listed_answers_are_marked_in_the_hint(page):
    page.locator("[name=run]").select_option("4")
    assert n_found(page) == 6
    page.locator(".group > summary").first.click()
    assert page.locator(".hint > pre").first.inner_text() == "41 + 0, not 41, 40"
    assert page.locator(".hint > pre mark").all_inner_texts() == ["41", "40"]
    text = "document.querySelector('.hint > pre').firstChild.textContent"
    assert page.evaluate(text) == "41 + 0, not "  # the problem's own 41 is not marked


def test_model_text_stays_text(page):
    page.locator("[name=text]").fill("window.broken")
    assert n_found(page) == 6
    page.locator(".group > summary").first.click()
    assert page.locator(".hint .rollout[open] pre").first.inner_text() == HOSTILE
    assert page.evaluate("window.broken") is None and page.locator("main img, main b").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_only(browser, report, scheme):
    with opened(browser, report, 390, scheme) as (page, said):
        page.locator(".group > summary").first.click()
        page.locator("#settings details summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert said == []
