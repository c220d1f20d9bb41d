"""Every page that the navigation leads to: for everybody, at each width, in both colours; pictures.

The pictures are in `build/screenshots`, in a folder for each window.
"""

import io
import zipfile
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.console_pages import find_pages
from tests.support.console_user import console_user
from tests.support.service import ask
from tests.support.service_processes import ended, open_course

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
WINDOWS = {
    "light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}
#: What WCAG 2.2 A and AA want, and good practice; what another colour or width can break.
RULES = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "dark": ["color-contrast", "link-in-text-block"],
    "narrow": ["target-size", "scrollable-region-focusable", "color-contrast"],
}
COURSE = "course-v1:Uni+PAGES+2026"
#: What admins keep beside courses and files.
LMS = {"kind": "openedx", "url": "https://lms.example.org", "auth": {"api_key": "hidden"}}
OF_ADMINS = [
    ("PUT", f"/invitations/{COURSE}/guest@example.org", {}),
    ("PUT", "/crosswalks/sis", [{"kind": "course", "theirs": "ALG", "ours": COURSE}]),
    ("POST", "/webhooks", {"url": "https://lms.example.org/hooks", "courses": ["Hooks+*"]}),
    ("PUT", "/destinations/lms", LMS),
    ("POST", "/destinations/lms/pause", None),
]
#: Pages of this release that lead to something of the records.
KINDS = {"overview", "upload", "submissions", "submissions-one", "learners", "learners-one"}
KINDS |= {"courses", "courses-one"}
#: Parts that a script is fetching, or will fetch: they have a link for whoever has no scripts.
NOT_YET = ".htmx-request, [hx-trigger=load] > a"
#: Elements that are wider than the window, and do not scroll by themselves.
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("body, main *, header *")]
    .filter((one) => one.scrollWidth > innerWidth && !one.closest(".wide"))
    .map((one) => one.outerHTML.slice(0, 120))"""


def long_names(rows):
    """Returns an archive of two files with names of 200 characters, one from right to left."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for letter in "n\u05d0":
            lines = [f"{row['user']},{row['course_id']}\n" for row in rows]
            archive.writestr(f"{letter * 196}.csv", "".join(["user,course_id\n", *lines]))
    return packed.getvalue()


@pytest.fixture(scope="module")
def records(up):
    """A course with everything, a file whose rows failed, and their plan, by name of a page."""
    modes = [{"slug": "audit", "name": "Audit"}, {"slug": "verified", "min_price": 4_900}]
    course = open_course(COURSE, course_name="Algebra", course_modes=modes, capacity=10)
    rows = [{"user": f"page{number:02}", "course_id": COURSE} for number in range(14)]
    rows[3]["course_id"] += "x"
    with up.http() as http:
        assert http.put(f"/courses/{COURSE}", json=course).is_success
        for method, path, body in OF_ADMINS:
            made = http.request(method, path, json=body)
            assert made.is_success, made.text
        plan = http.post("/submissions?dry_run=true", json={"enrollments": rows})
        ended(http, plan.json()["submission_id"], up.log)
        sent = {
            "submissions-one": plan,
            "submissions-one-result": http.post("/submissions", json={"enrollments": rows}),
            "submissions-one-request": ask(http, "single", COURSE),
        }
        packed = long_names(rows)
        sent["submissions-one-archive"] = http.post(
            "/submissions", content=packed, headers={"Content-Type": "application/zip"}
        )
        ids = {name: answer.json()["submission_id"] for name, answer in sent.items()}
        assert all(ended(http, one, up.log)["state"] == "done" for one in ids.values())
    return {name: f"/console/submissions/{one}" for name, one in ids.items()}


@pytest.fixture(scope="module")
def pages(browser, up, records):
    """The address of each kind of page."""
    with console_user(browser, up.url) as user:
        user.log_in(up.key())
        found = find_pages(user)
    answers = {"not-found": "/console/nothing", "no-learner": "/console/learners?q=nobody"}
    return {**found, **records, **answers, "log-in": "/console/login"}


def judged(page, name, window="light"):
    """Returns what is wrong with the page that is shown."""
    options = {"runOnly": RULES[window], "resultTypes": ["violations"], "preload": False}
    found = Axe().run(page, options=options).response["violations"]
    wide = [f"{name}: wider than the window: {one}" for one in page.evaluate(TOO_WIDE)]
    return wide + [
        f"{name}: {one['impact']}: {one['help']}: {node['html'][:200]}"
        for one in found
        for node in one["nodes"][:3]
    ]


def test_the_navigation_leads_to_pages_of_all_kinds(pages):
    assert pages.keys() >= KINDS


def test_what_is_not_for_everybody_would_be_noticed(admin):
    page = admin.open("/console")
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    page.evaluate("document.querySelector('h1').textContent = 'x'.repeat(3000)")
    page.evaluate("document.querySelector('h1').className = 'nowrap'")
    wrong = " ".join(judged(page, "overview"))

    assert "Form elements must have labels" in wrong
    assert "wider than the window" in wrong


@pytest.mark.parametrize("window", WINDOWS)
def test_a_page_is_for_everybody(browser, up, pages, window):
    with console_user(browser, up.url, **WINDOWS[window]) as user:
        user.log_in(up.key())
        wrong = []
        for name, path in pages.items():
            page = user.open(path)
            expect(page.locator(NOT_YET)).to_have_count(0)
            page.screenshot(path=PICTURES / window / f"{name}.png", full_page=True)
            wrong += judged(page, name, window)
    assert wrong == []


@pytest.mark.parametrize("window", WINDOWS)
def test_a_page_of_a_running_file_is_for_everybody(browser, up, records, window, tmp_path):
    path = tmp_path / "rows.csv"
    rows = (f"run{number},{COURSE}" for number in range(20_000))
    path.write_text("\n".join(["user,course_id", *rows]))
    with console_user(browser, up.url, **WINDOWS[window]) as user:
        page = user.log_in(up.key())
        user.open("/console/upload")
        page.get_by_label("File", exact=True).set_input_files(path)
        page.get_by_role("button", name="Show the plan").click()
        expect(page.locator("#live-note")).to_have_text("It is running.")
        expect(page.locator("#state")).to_have_text("Running")
        page.screenshot(path=PICTURES / window / "running.png", full_page=True)
        wrong = judged(page, "running", window)
        page.get_by_role("button", name="Cancel", exact=True).click()
        expect(page.locator("#state")).to_have_text("Cancelled")
    assert wrong == []


def test_pages_are_read_without_scripts(browser, up, pages):
    with console_user(browser, up.url, java_script_enabled=False) as user:
        user.log_in(up.key())
        for path in pages.values():
            expect(user.open(path).get_by_role("heading", level=1)).to_be_visible()
