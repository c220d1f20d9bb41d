"""Names, titles and cells that are written to run as scripts: they are shown as what they are."""

import csv
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.support.service_processes import open_course, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RUN = "window.hostile = 1"
#: Each would leave a text, an attribute, a script or an address, or turn the text around it.
TEXTS = (
    f"<img src=x onerror='{RUN}'>",
    f"</script><script>{RUN}</script>",
    f'"><svg onload="{RUN}">',
    f"' autofocus onfocus='{RUN}",
    f"</title></textarea><script>{RUN}</script>",
    f"javascript:{RUN}",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    "\u202eesrever\u2066\u200f",
)
ADDRESSES = (
    "learners/{}",
    "courses/{}",
    "submissions/{}",
    "submissions?state={}",
    "rows?user={}",
    "upload?follows={}",
)
#: What a page must not have got from them.
TRACES = """() => [
  window.hostile === undefined ? "" : "a script has run",
  ...[...document.querySelectorAll("img, script:not([nonce]), svg:not([aria-hidden]), iframe")]
    .map((element) => element.outerHTML),
  ...[...document.querySelectorAll("*")].flatMap((element) => [...element.attributes]
    .filter((one) => /^on/.test(one.name) || one.name === "autofocus"
      || (/^(href|src|action)$/.test(one.name) && /^\\s*javascript:/i.test(one.value)))
    .map((one) => `${element.tagName} ${one.name}=${one.value}`)),
].filter(Boolean)"""


@pytest.fixture(scope="module")
def courses(up):
    """Courses with hostile titles, modes and cohorts, each with a learner of a hostile address."""
    made = {}
    with up.http() as http:
        for number, text in enumerate(TEXTS):
            course_id = f"course-v1:Hostile+T{number}+2026"
            mode = {"slug": "audit", "name": text}
            course = open_course(course_id, course_name=text, course_modes=[mode], cohorts=[text])
            answer = http.put(f"/courses/{course_id}", json=course)
            assert answer.is_success, answer.text
            made[course_id] = text
    return made


@pytest.fixture(scope="module")
def hostile_file(courses, tmp_path_factory):
    """A file whose name, columns and cells are hostile."""
    path = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=alert(1)>.csv"
    with path.open("w", newline="") as file:
        written = csv.writer(file)
        written.writerow(["user", "course_id", "mode", "cohort", *TEXTS])
        for number, (course_id, text) in enumerate(courses.items()):
            written.writerow([f"hostile{number}", course_id, "audit", text, *TEXTS])
            written.writerow([text, course_id, "", "", *TEXTS])
            written.writerow([f"hostile{number}", text, "", "", *TEXTS])
            written.writerow([f"hostile{number}", course_id, text, "", *TEXTS])
    return path


def is_harmless(user):
    """Whether a page shows hostile texts as texts; its scripts have been loaded by then."""
    user.page.wait_for_load_state()
    assert user.page.evaluate(TRACES) == []
    assert user.complaints == []


def test_a_script_that_runs_or_is_forbidden_would_be_noticed(admin):
    page = admin.open("/console")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')")
    wait_until(lambda: page.title() and admin.complaints)

    assert page.evaluate(TRACES)
    assert any("Content Security Policy" in one for one in admin.complaints)
    admin.complaints.clear()


def test_a_file_of_hostile_cells_is_planned_and_applied(admin, hostile_file, tmp_path):
    page = admin.follow("Upload")
    admin.plan(hostile_file)
    is_harmless(admin)
    expect(page.get_by_text(TEXTS[0]).first).to_be_visible()
    admin.apply()
    expect(page.locator("#progress")).to_have_count(0)
    is_harmless(admin)
    assert TEXTS[0] in admin.download("Download all rows", tmp_path / "all.csv").read_text()
    for path in ("/console", "/console/submissions"):
        admin.open(path)
        is_harmless(admin)


def test_courses_with_hostile_titles_are_shown(admin, courses):
    page = admin.open("/console/courses")
    is_harmless(admin)
    expect(page.get_by_text(TEXTS[0], exact=True)).to_be_visible()
    for course_id, text in courses.items():
        admin.open(f"/console/courses/{course_id}")
        is_harmless(admin)
        expect(page.get_by_role("heading", level=1)).to_contain_text(text)
        assert text in page.title()


def test_a_search_for_a_hostile_text_shows_it(admin):
    for text in TEXTS:
        page = admin.open("/console/learners")
        page.get_by_label("Username or e-mail").fill(text)
        page.get_by_role("button", name="Find").click()
        expect(page.get_by_role("status")).to_contain_text("No learner has exactly")
        expect(page.locator("#found")).to_be_visible()
        is_harmless(admin)


def test_addresses_with_hostile_texts_are_answered(admin):
    for text in TEXTS:
        for path in ADDRESSES:
            admin.open(f"/console/{path.format(quote(text, safe=''))}")
            is_harmless(admin)


def test_the_log_in_page_leads_to_no_script_and_no_other_site(visitor, up):
    for target in (f"javascript:{RUN}", "//evil.test/", "/console/../docs", "/\\evil.test"):
        page = visitor.open(f"/console/login?next={quote(target, safe='')}")
        is_harmless(visitor)
        page.get_by_label("API key or token").fill(up.key())
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(f"{up.url}/console")
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(f"{up.url}/console/login")
    visitor.open("/console/login?next=%2Fconsole%2Fcourses")
    page.get_by_label("API key or token").fill(TEXTS[0])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    is_harmless(visitor)
