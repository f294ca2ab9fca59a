"""The page of a comparison in a real browser: drawn, hovered, filtered, and inert against hostile text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.report import main
from tests.experiments.browser import BINARY, Browser
from tests.experiments.recorded import add_stages
from tests.experiments.run_folders import QUESTIONS, rows, write_run

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium is installed; README.md says how to get it")

HOSTILE = (
    "<script>window.harmed = 1</script>",
    '<img src=x onerror="window.harmed = 1">',
    "</script><script>window.harmed = 1</script>",
    '"><svg onload="window.harmed = 1">',
    "javascript:window.harmed = 1",
    "</pre></article></main></body></html>",
    "\u2028\u2029window.harmed = 1",
    "&lt;b&gt; ${window.harmed = 1} {{1}} \\u003cscript\\u003e",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two settings, three seeds; one of the outputs is hostile in each of several ways, and one is very long."""
    folder = tmp_path_factory.mktemp("reports")
    for setting, (supervision, right_of_ten) in enumerate((("answer", 4), ("reasoning", 8))):
        for seed in range(3):
            right = [(7 * place + seed) % 10 < right_of_ten for place in range(QUESTIONS)]
            answers = rows(right, tokens=5 + 60 * setting, thinks=bool(setting))
            for place, text in enumerate(HOSTILE):
                answers[place] |= {"output": text, "prompt": text, "task": HOSTILE[place % 2]}
            answers[20]["output"] = "7" * 400_000
            run = folder / "runs" / f"{supervision}-{seed}"
            write_run(run, answers, supervision=supervision, seed=seed)
            add_stages(run, 3, supervision=supervision)
    main([str(folder), "--output_dir", str(folder / "out")])
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser at the page, as wide as a desk."""
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.show(width=1280)
        opened.open(page)
        yield opened


def test_the_page_reports_no_error_and_asks_for_nothing_but_itself(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.errors == []
    assert set(browser.requests) == {page.as_uri()}


def test_charts_are_drawn(browser: Browser) -> None:
    drawn = browser.run(
        """[...document.querySelectorAll("svg.chart")].filter((it) => !it.closest("details")).map((it) => {
          const {width, height} = it.getBoundingClientRect();
          const marks = [...it.querySelectorAll(".dot, .fill, path.line")].map((mark) => mark.getBoundingClientRect());
          return {title: it.getAttribute("aria-label"), width, height,
                  marks: marks.filter((at) => at.width > 2).length,
                  inside: marks.every((at) => at.left >= 0 && at.right <= innerWidth)};
        })"""
    )
    assert isinstance(drawn, list)
    titles = {chart["title"] for chart in drawn}
    assert {
        "Accuracy of every setting",
        "Accuracy against training FLOPs",
        "Accuracy against FLOPs of an answer",
    } <= titles
    assert {"Total cost over query volume", "Supervision over the budget", "Learning curves over the budget"} <= titles
    for chart in drawn:
        assert chart["width"] > 250 and chart["height"] > 30 and chart["marks"] > 0 and chart["inside"], chart


def _place(browser: Browser, selector: str) -> tuple[float, float]:
    """The middle of an element, which is brought into view."""
    found = browser.run(
        f"""(async () => {{const it = document.querySelector({json.dumps(selector)});
        it.scrollIntoView({{block: "center"}});
        for (const frame of [1, 2]) await new Promise(requestAnimationFrame);
        const at = it.getBoundingClientRect();
        return [at.left + at.width / 2, at.top + at.height / 2]}})()"""
    )
    assert isinstance(found, list)
    return found[0], found[1]


TIP = 'document.querySelector("#tip").hidden ? "" : document.querySelector("#tip").textContent'
POINT = 'svg[aria-label="Accuracy against training FLOPs"] .mark'


def test_a_point_tells_its_figures_where_it_is_pointed_at_tapped_or_focused(browser: Browser) -> None:
    x, y = _place(browser, POINT)
    browser.point_at(x, y)
    hovered = browser.run(TIP)
    assert isinstance(hovered, str) and "accuracy" not in hovered
    assert "Fixed(" in hovered and "%" in hovered and "training FLOPs" in hovered
    browser.point_at(5, 5)
    assert browser.run(TIP) == ""
    browser.tap(x, y)
    assert browser.run(TIP) == hovered
    browser.point_at(5, 5)
    browser.run(f"document.querySelector({json.dumps(POINT)}).focus()")
    assert browser.run(TIP) == hovered
    browser.press("ArrowRight")
    other = browser.run(TIP)
    assert other not in ("", hovered)
    browser.press("Escape")
    assert browser.run(TIP) == ""


def test_every_chart_is_one_stop_of_the_tab_key(browser: Browser) -> None:
    stops = browser.run(
        """[...document.querySelectorAll("svg.chart")].filter((chart) => chart.querySelector("[data-tip]"))
        .map((chart) => chart.querySelectorAll('[tabindex="0"]').length)"""
    )
    assert isinstance(stops, list) and set(stops) == {1}


SHOWN = '[...document.querySelectorAll(".sample")].filter((sample) => !sample.hidden)'


def _choose(browser: Browser, name: str, value: str) -> None:
    browser.run(
        f"""(() => {{const it = document.querySelector('[data-filter="{name}"]'); it.value = {json.dumps(value)};
        it.dispatchEvent(new Event("input", {{bubbles: true}}))}})()"""
    )


def test_samples_are_filtered_searched_and_turned_over(browser: Browser) -> None:
    verdicts = f"{SHOWN}.map((sample) => sample.dataset.verdict)"
    settings = f"{SHOWN}.map((sample) => sample.dataset.setting)"
    assert browser.run(f"{SHOWN}.length") == 10
    _choose(browser, "verdict", "wrong")
    assert browser.run(f"[...new Set({verdicts})].join()") == "wrong"
    _choose(browser, "setting", "Fixed(reasoning)")
    assert browser.run(f"[...new Set({settings})].join()") == "Fixed(reasoning)"
    assert browser.run('document.querySelector("output").textContent') == f"1 to {QUESTIONS // 5} of {QUESTIONS // 5}"
    _choose(browser, "verdict", "")
    first = browser.run(f"{SHOWN}[0].textContent")
    browser.run("""document.querySelector('[data-turn="1"]').click()""")
    assert browser.run(f"{SHOWN}[0].textContent") != first
    assert browser.run('document.querySelector("output").textContent') == f"11 to 20 of {QUESTIONS}"
    _choose(browser, "text", "SVG onload=")
    assert browser.run(f"{SHOWN}.length") == 1
    _choose(browser, "text", "nothing has this in it")
    assert browser.run('document.querySelector("output").textContent') == "nothing found"
    _choose(browser, "text", "")
    _choose(browser, "setting", "")
    assert browser.run(f"{SHOWN}.length") == 10


def test_hostile_text_is_shown_as_it_is_and_does_nothing(browser: Browser) -> None:
    texts = browser.run('[...document.querySelectorAll(".sample pre")].map((text) => text.textContent)')
    assert isinstance(texts, list)
    assert set(HOSTILE) <= set(texts)
    assert browser.run("window.harmed") is None
    assert browser.run('document.querySelectorAll("script").length') == 1
    assert (
        browser.run('document.querySelectorAll("img, iframe, object, embed, [onload], [onerror], [style*=url]").length')
        == 0
    )
    tasks = browser.run("""[...document.querySelector('[data-filter="task"]').options].map((option) => option.value)""")
    assert isinstance(tasks, list) and set(HOSTILE[:2]) <= set(tasks)


def test_a_script_that_got_in_would_be_refused(browser: Browser, page: Path) -> None:
    """The policy of the page holds even against markup that was not escaped."""
    pierced = page.with_name("pierced.html")
    text = page.read_text(encoding="utf-8")
    hole = '<script>window.harmed = 1</script><img src="https://example.com/x.png" onerror="window.harmed = 2">'
    pierced.write_text(text.replace("<main>", f"<main>{hole}", 1), encoding="utf-8")
    browser.open(pierced)
    assert browser.run("window.harmed") is None
    assert browser.errors, "the browser says what it refused"
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_can_be_read(browser: Browser, width: int, scheme: str) -> None:
    browser.show(width=width, scheme=scheme, phone=width < 500)
    browser.run('document.querySelectorAll("details").forEach((one) => { one.open = true })')
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth") is True
    contrast = browser.run(
        """(() => {
          const light = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
            .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
          const back = light(getComputedStyle(document.body).backgroundColor);
          const ratio = (colour) => (Math.max(back, light(colour)) + 0.05) / (Math.min(back, light(colour)) + 0.05);
          const all = (selector) => [...document.querySelectorAll(selector)];
          const colours = (selector, of) => all(selector).map((it) => getComputedStyle(it)[of]);
          return {back, text: Math.min(...colours("body, .note, td, a, .sample b", "color").map(ratio)),
                  drawn: Math.min(...colours("svg text", "fill").map(ratio)),
                  marks: Math.min(...colours(".dot, .area .fill", "fill").map(ratio))};
        })()"""
    )
    assert isinstance(contrast, dict)
    assert (contrast["back"] > 0.5) == (scheme == "light")
    assert contrast["text"] >= 4.5 and contrast["drawn"] >= 3 and contrast["marks"] >= 3, contrast
    browser.show(width=1280)


def test_without_script_everything_but_filters_reads(browser: Browser, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(page)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run(f"{SHOWN}.length") == 2 * QUESTIONS
    assert browser.run('getComputedStyle(document.querySelector(".filters")).display') == "none"
    browser.open(page)
