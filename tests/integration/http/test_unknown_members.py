"""Members of our own bodies that are not known are refused, with the nearest known name."""

import json

import pytest

from tests.support.gateway import AUDIT, fresh

BODIES = {
    "course": ("PUT", "courses/{course}", {"capactiy": 3}, "capacity"),
    "course patch": ("PATCH", "courses/{course}", {"enrolment_end": None}, "enrollment_end"),
    "mode": ("PUT", "courses/{course}", {"course_modes": [{"slug": "a", "nmae": "A"}]}, "name"),
    "courses": ("POST", "courses", [{"course_id": "{course}", "cohort": []}], "cohorts"),
    "course patches": ("PATCH", "courses", [{"course_id": "{course}", "Capacity": 1}], "capacity"),
    "learner": ("PUT", "learners/{user}", {"mail": "a@example.org"}, "email"),
    "learners": ("POST", "learners", [{"username": "{user}", "isactive": True}], "is_active"),
    "invitation": ("PUT", "invitations/{course}/a@example.org", {"expires": None}, "expires_at"),
    "crosswalk": (
        "PATCH",
        "crosswalks/canvas",
        [{"kind": "course", "theirs": "A", "our": "{course}"}],
        "ours",
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_misspelt_member_is_refused_with_the_nearest_name(small, case):
    method, path, body, near = BODIES[case]
    names = {"course": small.course(AUDIT), "user": fresh("u")}

    refused = small.call(
        method,
        path.format(**names),
        small.admin,
        json=json.loads(json.dumps(body).replace("{course}", names["course"])),
    )

    assert (refused.status_code, refused.json["code"]) == (400, "invalid_body")
    found = next(one for one in refused.json["errors"] if one["rule"] == "unknown")
    assert found["message"].endswith(f"is not a known name: did you mean {near}?")
    assert near in refused.json["detail"] or len(refused.json["errors"]) > 1


def test_a_member_that_is_like_none_is_refused_with_all_names(small):
    refused = small.call("PUT", f"learners/{fresh('u')}", small.admin, json={"zzz": 1})

    assert refused.json["detail"] == (
        "zzz: 1 is not a known name: known are username, email, is_active, is_staff, retiring."
    )


def test_a_body_that_is_no_list_says_what_it_should_be(small):
    refused = small.call("POST", "courses", small.admin, json={"course": []})

    assert refused.json["detail"] == (
        "courses: '{\"course\":[]}' has the wrong type: expected a JSON list of courses, an object "
        "with the list in courses, or one object with course_id."
    )


def test_a_document_with_another_member_names_it(small):
    refused = small.call("POST", "submissions", small.admin, json={"enrolments": []})

    assert refused.status_code == 422
    assert "an object with the members enrolments" in refused.json["detail"]
