"""The day of a registrar, in a real browser: a file of 50,000 rows from plan to mended rows."""

import csv
import re

import pytest
from playwright.sync_api import expect

from tests.support.service_processes import open_course, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROWS, FAILED, CANCELLED = 50_000, 7, 25_000
COURSES = [f"course-v1:Uni+C{number:02}+2026" for number in range(20)]
HEADER = ["course_id", "user_id", "role", "section_id", "status"]
TYPO = "course-v1:Uni+TYPO+2026"
#: Whether the bar is between its ends, and beyond a value.
MOVES = """(beyond) => {
  const bar = document.getElementById("progress");
  return bar && bar.value > beyond && bar.value < bar.max ? bar.value : 0;
}"""


@pytest.fixture(scope="module")
def courses(up):
    with up.http() as http:
        for course in COURSES:
            made = http.put(f"/courses/{course}", json=open_course(course, capacity=4_000))
            assert made.is_success, made.text
    return COURSES


@pytest.fixture
def canvas_file(tmp_path):
    """Makes an `enrollments.csv` of Canvas; the courses of its first rows do not exist."""

    def make(prefix, rows=ROWS, failed=FAILED):
        path = tmp_path / "enrollments.csv"
        with path.open("w", newline="") as file:
            written = csv.writer(file)
            written.writerow(HEADER)
            for number in range(rows):
                course = TYPO if number < failed else COURSES[number % len(COURSES)]
                learner = f"{prefix}{number:05}"
                written.writerow([course, learner, "student", f"s{number % 9}", "active"])
        return path

    return make


@pytest.fixture(scope="module")
def key(new_key):
    """For files and look-ups."""
    return new_key("registrar", "--scope", "enroll", "--scope", "read").secret


@pytest.fixture
def registrar(visitor, key, courses):
    """Somebody who sends files."""
    visitor.log_in(key)
    return visitor


def moved(page, beyond=0):
    """Waits until the bar of progress is beyond a value; returns where it is."""
    return page.wait_for_function(MOVES, arg=beyond).json_value()


def mended(path):
    """Corrects the courses of a downloaded file, and leaves everything else as it is."""
    path.write_bytes(path.read_bytes().replace(TYPO.encode(), COURSES[0].encode()))
    return path


def test_a_file_is_planned_applied_mended_and_found(registrar, canvas_file, tmp_path):
    page = registrar.follow("Upload")
    registrar.plan(canvas_file("ada"))
    expect(registrar.fact("Format")).to_have_text("canvas")
    expect(registrar.tile("enrolled")).to_have_text("49,993")
    expect(registrar.tile("refused")).to_have_text("7")
    expect(page.get_by_role("listitem").filter(has_text="Line 2 · ada00000")).to_contain_text(
        "There is no course"
    )
    plan = page.get_by_role("group", name="Courses").get_by_role("row").filter(has_text=COURSES[19])
    expect(plan).to_contain_text("2,500")
    registrar.apply()

    first = moved(page)
    assert moved(page, first) > first
    expect(page.get_by_text("Some rows failed")).to_be_visible()
    expect(page.locator("#progress")).to_have_count(0)
    result = page.url
    refused = registrar.download("Download the 7 failed rows", tmp_path / "refused.csv")
    rows = list(csv.DictReader(refused.read_text("utf-8-sig").splitlines()))
    assert [row["user_id"] for row in rows] == [f"ada{number:05}" for number in range(FAILED)]
    assert list(rows[0])[: len(HEADER)] == HEADER

    page.get_by_role("link", name="Upload the mended file").click()
    registrar.plan(mended(refused))
    expect(registrar.tile("enrolled")).to_have_text("7")
    registrar.apply()
    expect(page.get_by_text("Succeeded")).to_be_visible()
    assert result.endswith(registrar.fact("Follows").get_by_role("link").get_attribute("href"))

    registrar.follow("Learners")
    page.get_by_label("Username or e-mail").fill("ada00003")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("ada00003")
    enrollments = page.get_by_role("group", name="Enrollments")
    expect(enrollments.get_by_role("row").filter(has_text=COURSES[0])).to_contain_text("Enrolled")
    found = page.get_by_role("group", name="Requests about ada00003")
    expect(found.get_by_role("row").filter(has_text="Refused").first).to_contain_text(TYPO)


def test_a_running_file_is_cancelled(registrar, canvas_file):
    page = registrar.follow("Upload")
    registrar.plan(canvas_file("bob", rows=CANCELLED, failed=0))
    registrar.apply()
    moved(page)
    page.get_by_role("button", name="Cancel", exact=True).click()

    expect(page.locator("#state")).to_have_text("Cancelled")
    counts = [
        int(registrar.tile(outcome).inner_text().replace(",", ""))
        for outcome in ("enrolled", "cancelled")
    ]
    assert min(counts) > 0
    assert sum(counts) == CANCELLED
    registrar.follow("Submissions")
    page.get_by_label("State").select_option(label="Cancelled")
    expect(page).to_have_url(re.compile(r"state=cancelled"))
    expect(page.get_by_role("row").filter(has_text="25,000")).to_have_count(1)


def test_rows_are_filtered_without_leaving_the_page(registrar, canvas_file):
    page = registrar.follow("Upload")
    registrar.plan(canvas_file("cy", rows=120, failed=2))
    table = page.get_by_role("group", name="Rows with their outcomes")
    expect(table.get_by_role("row")).to_have_count(51)
    page.get_by_label("Outcome", exact=True).select_option(label="Failed")

    expect(table.get_by_role("row")).to_have_count(3)
    assert "outcome=refused" in page.url
    page.reload()
    expect(table.get_by_role("row")).to_have_count(3)


def test_a_double_click_sends_a_file_once_and_too_large_a_file_not_at_all(registrar, canvas_file):
    page = registrar.follow("Upload")
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    chooser = page.get_by_label("File", exact=True)
    chooser.evaluate("(input) => { input.dataset.most = 10 }")
    chooser.set_input_files(canvas_file("dee", rows=20, failed=0))
    page.get_by_role("button", name="Show the plan").click()
    assert "larger than" in chooser.evaluate("(input) => input.validationMessage")
    assert "POST" not in sent

    page = registrar.follow("Upload")
    chooser.set_input_files(canvas_file("dee", rows=20, failed=0))
    page.get_by_role("button", name="Show the plan").dblclick()
    expect(registrar.heading("Nothing has changed yet")).to_be_visible()
    assert sent.count("POST") == 1


def test_a_key_is_rotated(visitor, new_key, up):
    former = new_key("rotated", "--scope", "read")
    visitor.log_in(former.secret)
    latter = new_key("rotated", "--scope", "read", "--rotate")
    page = visitor.open("/console/learners")
    revoked = up.enroll("keys", "revoke", former.id, "--data-dir", up.data)
    assert revoked.returncode == 0, revoked.stderr

    wait_until(lambda: "/console/login" in page.reload().url)
    page.get_by_label("API key or token").fill(former.secret)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("API key or token").fill(latter.secret)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{up.url}/console/learners")
