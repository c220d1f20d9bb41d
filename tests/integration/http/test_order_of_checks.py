"""Requests with two faults: the one that Open edX checks first is answered."""

import pytest

from tests.support.gateway import AUDIT, CREDIT, VERIFIED, ago, fresh

NO_ID = "Course ID must be specified to create a new enrollment."
BAD_ID = "No course 'invalidcourse' found for enrollment"
OTHER = {"user": "somebody"}
OTHER_EMAIL = {"email": "somebody@example.org"}
VERIFIED_MODE = {"mode": "verified"}
INACTIVE = {"is_active": "foo"}
FORCED = {"force_enrollment": "yes"}
ATTRIBUTE = {"enrollment_attributes": [{"namespace": "a", "name": "b"}]}
WRONG_ID, WITHOUT_ID = {"course_id": "invalidcourse"}, {"course_id": None}
NOT_ACTIVE = "'foo' is an invalid enrollment activation status."
NOT_FORCED = "'yes' is an invalid force enrollment status."
NO_MODE = "User does not have permission to create enrollment with mode [verified]."
NOBODY = "The user  does not exist."
UNKNOWN = "course-v1:no+such+course"


@pytest.mark.parametrize(
    ("who", "faults", "status", "message"),
    [
        ("learner", WITHOUT_ID | OTHER, 400, NO_ID),
        ("learner", WITHOUT_ID | OTHER_EMAIL, 400, NO_ID),
        ("learner", WRONG_ID | OTHER, 400, BAD_ID),
        ("learner", WRONG_ID | VERIFIED_MODE, 400, BAD_ID),
        ("learner", WRONG_ID | INACTIVE, 400, BAD_ID),
        ("server", WRONG_ID, 400, BAD_ID),
        ("learner", OTHER | VERIFIED_MODE, 404, None),
        ("learner", OTHER_EMAIL | VERIFIED_MODE, 404, None),
        ("learner", OTHER | INACTIVE, 404, None),
        ("learner", OTHER_EMAIL | INACTIVE, 404, None),
        ("learner", OTHER | FORCED, 404, None),
        ("learner", OTHER | ATTRIBUTE, 404, None),
        ("learner", OTHER | {"mode": 1}, 404, None),
        ("learner", {"user": 7} | INACTIVE, 404, None),
        ("server", {"user": 7} | INACTIVE, 400, NOT_ACTIVE),
        ("learner", VERIFIED_MODE | INACTIVE, 403, NO_MODE),
        ("learner", VERIFIED_MODE | FORCED, 403, NO_MODE),
        ("learner", VERIFIED_MODE | ATTRIBUTE, 403, NO_MODE),
        ("server", INACTIVE, 406, NOBODY),
        ("server", FORCED | ATTRIBUTE, 406, NOBODY),
        ("server", {"user": "ann"} | INACTIVE | FORCED, 400, NOT_ACTIVE),
        ("server", {"user": "ann", "course_id": UNKNOWN} | INACTIVE, 400, NOT_ACTIVE),
        ("learner", INACTIVE | FORCED, 400, NOT_ACTIVE),
        ("learner", FORCED | ATTRIBUTE, 400, NOT_FORCED),
        ("learner", ATTRIBUTE | {"cohort": 1}, 400, "'value' not in enrollment attribute"),
    ],
)
def test_at_the_gate(small, who, faults, status, message):
    caller = small.learner("ann") if who == "learner" else small.server
    body = {"course_id": "course-v1:a+b+c", **faults}

    answer = small.post("enrollment", caller, json=body)

    assert (answer.status_code, answer.json["message"] if answer.content else None) == (
        status,
        message,
    )


MODE_GONE = "The [gone] course mode is expired or otherwise unavailable for course run "
MISSING = "Missing enrollment attributes: requested mode=credit required attributes="
MISMATCH = "Enrollment mode mismatch: active mode=audit, requested mode=gone. Won't deactivate."
CLOSED, FULL = {"enrollment_end": ago(days=1)}, {"capacity": 0}
NO_PROVIDER = {"mode": "credit", **ATTRIBUTE}
NO_PROVIDER["enrollment_attributes"] = [{"namespace": "credit", "name": "of", "value": "x"}]
IN = {"is_enrolled": True}


@pytest.mark.parametrize(
    ("course", "body", "code", "message"),
    [
        ({}, {"email": "no@example.org", "course_id": UNKNOWN}, "learner_not_found", "The user wi"),
        ({}, IN | {"mode": "gone", "is_active": False, "cohort": "x"}, "mode_mismatch", MISMATCH),
        ({}, IN | NO_PROVIDER | {"cohort": "x"}, "attributes_missing", MISSING),
        (CLOSED, NO_PROVIDER, "attributes_missing", MISSING),
        (CLOSED, {"mode": "gone"}, "mode_unavailable", MODE_GONE),
        (FULL, {"mode": "gone"}, "mode_unavailable", MODE_GONE),
        (CLOSED | FULL, {}, "enrollment_closed", "An error occurred while creating the new"),
        (FULL, {"cohort": "x"}, "course_full", "An error occurred while creating the new"),
    ],
)
def test_in_the_outcome(gateway, course, body, code, message):
    course_id, user = gateway.course(AUDIT, VERIFIED, CREDIT, **course), fresh("ann")
    body = dict(body)
    if body.pop("is_enrolled", False):
        gateway.enroll(gateway.server, course_id, user)
    asked = {"course_id": course_id, **({} if "email" in body else {"user": user}), **body}

    answer = gateway.answered(
        "POST", "enrollment", gateway.server, json=asked, headers={"Prefer": "wait=20"}
    )

    assert (answer.json["code"], answer.json["message"][: len(message)]) == (code, message)
