"""The console with the keyboard alone: each step sees where it is."""

import pytest
from playwright.sync_api import expect

from tests.support.service_processes import open_course

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

COURSE = "course-v1:Uni+KEYS+2026"
#: Most elements before any that is looked for.
MANY = 60
#: Name of the focused element, and whether it is marked and inside the window.
FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const isSeen = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0;
  const label = one.labels?.length ? one.labels[0].textContent : one.textContent;
  return [label.trim(), style.outlineStyle !== "none" && isSeen];
}"""


def press_until(page, label):
    """Presses Tab until an element with a label is focused; each on the way shows its focus."""
    for _ in range(MANY):
        page.keyboard.press("Tab")
        name, is_marked = page.evaluate(FOCUSED)
        assert is_marked or page.evaluate("document.activeElement === document.body"), name
        if name.startswith(label):
            return
    pytest.fail(f"no {label!r} within {MANY} steps")


@pytest.fixture
def file(up, tmp_path):
    with up.http() as http:
        assert http.put(f"/courses/{COURSE}", json=open_course(COURSE)).is_success
    path = tmp_path / "rows.csv"
    path.write_text(f"user,course_id\nkeys1,{COURSE}\nkeys2,{COURSE}x\n")
    return path


def test_log_in_and_upload_need_no_mouse(visitor, up, file):
    page = visitor.open("/console/upload")
    press_until(page, "API key or token")
    page.keyboard.type(up.key())
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{up.url}/console/upload")
    page.wait_for_load_state()

    press_until(page, "File")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(file)
    press_until(page, "Show the plan")
    page.keyboard.press("Enter")
    expect(visitor.heading("Nothing has changed yet")).to_be_visible()
    press_until(page, "Apply 2 rows")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Some rows failed")).to_be_visible()
    press_until(page, "Upload the mended file")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Upload the mended file")


def test_the_first_step_skips_to_the_content(admin):
    page = admin.open("/console/courses")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == ["Skip to the content", True]
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "content"


def test_the_options_of_an_upload_open_and_take_values(admin, file):
    page = admin.open("/console/upload")
    press_until(page, "Options")
    page.keyboard.press("Enter")
    press_until(page, "Course for rows without one")
    page.keyboard.type(COURSE)
    press_until(page, "If a row fails")
    page.keyboard.press("ArrowDown")

    expect(page.get_by_label("Course for rows without one")).to_have_value(COURSE)
    expect(page.get_by_label("If a row fails")).to_have_value("abort")
