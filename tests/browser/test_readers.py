"""Callers with fewer scopes: they are shown less, and permitted no more than they are shown."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ALL = {"Overview", "Upload", "Submissions", "Learners", "Courses"}
SEEN = {
    "read": {"Overview", "Submissions", "Learners", "Courses"},
    "enroll": {"Overview", "Upload", "Submissions"},
    "courses": {"Overview", "Submissions", "Courses"},
}


def test_an_admin_sees_all_pages(admin):
    assert set(admin.entries()) >= ALL


@pytest.mark.parametrize("scope", SEEN)
def test_a_caller_sees_the_pages_of_its_scope(visitor, new_key, scope):
    visitor.log_in(new_key(f"only-{scope}", "--scope", scope).secret)
    page = visitor.open("/console/submissions")

    assert set(visitor.entries()) & ALL == SEEN[scope]
    for label in ALL - SEEN[scope]:
        visitor.open(f"/console/{label.lower()}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Not permitted")
        expect(page.get_by_role("alert")).to_contain_text("scope")


def test_a_reader_is_not_offered_what_changes_something(visitor, new_key):
    visitor.log_in(new_key("reader", "--scope", "read").secret)
    page = visitor.open("/console")

    assert page.get_by_role("link", name="Upload").count() == 0
    expect(page.get_by_text("You have sent nothing yet.")).to_be_visible()
    for label in visitor.entries():
        visitor.follow(label)
        expect(page.get_by_role("heading", level=1)).to_have_text(label)
        assert page.locator("form[method=post]").count() == 1, "the form that logs out"
