"""Crosswalks in the console: ids of a file that are not mapped, and their mapping."""

import re

import pytest

from tests.support.console_browser import logged_in
from tests.support.gateway import AUDIT, fresh

HOSTILE = "<img src=x>"


@pytest.fixture
def source():
    return fresh("canvas-")


@pytest.fixture
def upload(gateway, admin, source):
    """Sends a file with ids of another system; returns the submission's id."""

    def sent(*rows):
        text = "\n".join(["user,course_id", *(f"{user},{course}" for user, course in rows)])
        status = gateway.submit(text, gateway.admin, params={"source": source})
        return status.json["submission_id"]

    return sent


def names(page):
    return set(re.findall(r'name="(map [^"]+)"', page.text))


def test_the_ids_of_a_file_are_mapped_in_the_page(gateway, admin, source, upload):
    course_id, user = gateway.course(AUDIT), gateway.person()
    submission = upload(("u|1", "c1"), ("u|2", "c1"), (HOSTILE, "c1"))
    path = f"/console/crosswalks/{source}?submission={submission}"

    assert path in admin.get("/console/crosswalks").text
    page = admin.get(path)
    assert {"map course c1", "map learner u|1", "map learner u|2"} <= names(page)
    assert "<img" not in page.text
    fields = {"submission": submission, "map course c1": course_id, "map learner u|1": user}
    sent = admin.send(f"/console/crosswalks/{source}", {**fields, "map learner u|2": " "})
    assert (sent.status_code, sent.headers["location"]) == (
        303,
        f"/console/crosswalks/{source}?saved=2&submission={submission}",
    )
    page = admin.get(sent.headers["location"])
    assert "2 ids are mapped" in page.text
    assert "map learner u|2" in names(page)
    assert not {"map course c1", "map learner u|1"} & names(page)
    again = gateway.submit("user,course_id\nu|1,c1\n", gateway.admin, params={"source": source})
    assert again.json["counts"]["enrolled"] == 1
    file = admin.get(f"/console/crosswalks/{source}/missing.csv?submission={submission}")
    assert "learner,u|2" in file.text


def test_an_id_that_cannot_be_is_refused_and_what_was_typed_stays(gateway, admin, source, upload):
    submission = upload(("u|1", "c1"))
    admin.get(f"/console/crosswalks/{source}?submission={submission}")
    fields = {"submission": submission, "map course c1": "no course key", "map learner u|1": "ada"}
    page = admin.send(f"/console/crosswalks/{source}", fields)

    assert page.status_code == 400
    assert 'value="no course key"' in page.text
    assert 'value="ada"' in page.text
    assert "No id is mapped" in admin.get(f"/console/crosswalks/{source}").text


def test_one_id_is_mapped(gateway, admin, source):
    admin.get(f"/console/crosswalks/{source}")
    fields = {"kind": "learner", "theirs": HOSTILE, "ours": "ada"}
    sent = admin.send(f"/console/crosswalks/{source}", fields)
    page = admin.get(sent.headers["location"])

    assert "1 id is mapped" in page.text
    assert "&lt;img src=x&gt;" in page.text
    assert source in admin.get("/console/crosswalks").text


def test_many_ids_are_mapped_in_parts(admin, source, upload):
    submission = upload(*((f"u|{number}", "c") for number in range(30)))
    path = f"/console/crosswalks/{source}"
    seen = set()
    while found := names(admin.get(f"{path}?submission={submission}")):
        assert len(found) <= 25
        assert not found & seen
        seen |= found
        ours = {name: "course-v1:Uni+C+1" if "course" in name else "ada" for name in found}
        assert admin.send(path, {"submission": submission, **ours}).status_code == 303

    assert len(seen) == 31
    assert (
        "All ids of the submission are mapped" in admin.get(f"{path}?submission={submission}").text
    )


def test_who_may_not_map_ids_sees_those_that_are_missing(gateway, source):
    who = gateway.key("enroll", name=fresh("sender"))
    status = gateway.submit("user,course_id\nu|1,c1\n", who, params={"source": source})
    browser = logged_in(gateway, who)
    page = browser.get(f"/console/crosswalks/{source}?submission={status.json['submission_id']}")

    assert "u|1" in page.text
    assert not names(page)
    assert "Map one id" not in page.text
    assert browser.send(f"/console/crosswalks/{source}", {}).status_code == 403
    other = logged_in(gateway, gateway.key("enroll", name=fresh("other")))
    path = f"/console/crosswalks/{source}?submission={status.json['submission_id']}"
    assert other.get(path).status_code == 404
