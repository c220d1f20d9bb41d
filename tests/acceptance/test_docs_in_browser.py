"""The pages for people in a real browser: no complaints, readable, usable by keyboard."""

import json

import pytest

from tests.acceptance.conftest import running
from tests.support.browser import browser_tab
from tests.support.openapi_document import document, operations
from tests.support.service_processes import needs_proc

pytestmark = [needs_proc, pytest.mark.slow]

PAGES = ("/docs", "/docs/reasons")
#: Lowest contrasts of text and of large text (WCAG 2.2 AA).
MIN_CONTRAST, MIN_CONTRAST_OF_LARGE = 4.5, 3.0

#: Everything that has a contrast below the limits, with both colours.
LOW_CONTRASTS = """(limit, limitOfLarge) => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const part = (value) => {
      const c = value / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const background = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = {};
  for (const element of document.body.querySelectorAll("*")) {
    const ownText = [...element.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!ownText) continue;
    const style = getComputedStyle(element);
    const pair = [luminance(parse(style.color)), luminance(background(element))].sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? limitOfLarge : limit)) {
      low[`${element.tagName}.${element.className} ${style.color}`] = ratio;
    }
  }
  return low;
}"""

#: What is wrong with the structure of the page, in sentences.
DEFECTS = """() => {
  const found = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const says = (wrong, sentence) => { if (wrong) found.push(sentence); };
  says(!document.documentElement.lang, "no language");
  says(!document.title, "no title");
  says(all("main").length !== 1, "not one main");
  says(all("h1").length !== 1, "not one h1");
  says(all("body > header").length !== 1, "no banner");
  const names = all("nav").map((nav) => nav.getAttribute("aria-label"));
  says(names.some((name) => !name) || new Set(names).size !== names.length, "nav without a name");
  let last = 0;
  for (const title of all("h1, h2, h3, h4, h5, h6")) {
    const level = Number(title.tagName[1]);
    says(level > last + 1, `h${level} after h${last}: ${title.textContent}`);
    says(!title.textContent.trim(), "empty heading");
    last = level;
  }
  const ids = all("[id]").map((element) => element.id);
  says(new Set(ids).size !== ids.length, "an id is there twice");
  for (const link of all("a[href]")) says(!link.textContent.trim(), `empty link ${link.href}`);
  for (const table of all("table")) {
    says(![...table.querySelectorAll("thead th")].every((cell) => cell.scope === "col"), "no scope");
  }
  for (const element of all("[tabindex]:not(main)")) {
    says(!element.getAttribute("role") || !element.getAttribute("aria-label"), "no name of a region");
  }
  for (const element of all("body *")) {
    const scrolls = /auto|scroll/.test(getComputedStyle(element).overflowX);
    const wide = element.scrollWidth > element.clientWidth + 1;
    says(scrolls && wide && !element.hasAttribute("tabindex") && element.tagName !== "NAV",
         `${element.tagName}.${element.className} scrolls, but cannot be focused`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("documented")) as up:
        yield up.url


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser_tab(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_complaints(tab):
    """Fails a test whose pages made the browser complain, such as about the policy."""
    tab.complaints.clear()
    yield
    assert tab.complaints == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_well_structured(tab, url, page):
    tab.show(f"{url}{page}")

    assert tab.evaluate(f"({DEFECTS})()") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_text_has_contrast(tab, url, page, scheme):
    tab.show(f"{url}{page}", scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    backgrounds = "getComputedStyle(document.body).backgroundColor"

    limits = json.dumps([MIN_CONTRAST, MIN_CONTRAST_OF_LARGE])
    assert tab.evaluate(f"({LOW_CONTRASTS})(...{limits})") == {}
    assert (tab.evaluate(backgrounds) == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_its_window(tab, url, page, width):
    tab.show(f"{url}{page}", width=width)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("page", PAGES)
def test_the_keyboard_skips_to_the_content(tab, url, page):
    tab.show(f"{url}{page}")

    tab.press("Tab", 9)
    first = tab.evaluate("document.activeElement.className")
    is_seen = tab.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    tab.press("Enter", 13, "\r")

    assert (first, is_seen) == ("skip", True)
    assert tab.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize(
    ("address", "tag"),
    [
        ("/docs#submit", "H3"),
        ("/docs#schema-Problem", "H3"),
        ("/docs/reasons#course_full", "TR"),
        ("/docs/reasons#rule-damaged_id", "TR"),
    ],
)
def test_a_deep_link_shows_its_place(tab, url, address, tag):
    tab.show(f"{url}{address}")
    place = tab.evaluate(
        "(() => { const one = document.querySelector(':target');"
        " const box = one.getBoundingClientRect();"
        " return [one.tagName, box.top >= 0 && box.top < innerHeight]; })()"
    )

    assert place == [tag, True]


def test_a_page_needs_no_javascript(tab, url):
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.show(f"{url}/docs#submit")
        root = tab.send("DOM.getDocument", depth=0)["root"]["nodeId"]
        found = tab.send("DOM.querySelectorAll", nodeId=root, selector="main h3[id] ~ pre")
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)

    assert len(found["nodeIds"]) == len(list(operations(document())))
