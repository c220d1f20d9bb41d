"""Operations on what enrolling needs: courses, learners, invitations."""

from api_gateway.openapi.parts import JSON, NDJSON, Answer, Operation, Schema, json, listed, ref

_BODY = "malformed_json incomplete_body invalid_body"
_BAD_BODY = {408: "request_timeout", 413: "too_large", 415: "unsupported_media_type"}
_BAD_MANY = "invalid_body incomplete_body idempotency_key_invalid"
_KEY = ("Idempotency-Key",)
_SAVED = Answer("All are made or replaced.", json("Saved"), ("Idempotency-Replayed",))
_GONE = Answer("It is gone.")


def _many(name: str, member: str) -> dict[str, Schema]:
    """The body of a list: an array, an object that names it, or an object a line."""
    array = listed(ref(name))
    named = {
        "type": "object",
        "properties": {member: array},
        "required": [member],
        "additionalProperties": False,
    }
    return {
        JSON: {"anyOf": [array, named]},
        NDJSON: {"type": "string", "description": f"A {name} a line."},
    }


_COURSES = (
    Operation(
        "Courses",
        "courses",
        "GET",
        "listCourses",
        "All courses",
        parameters=("limit", "cursor"),
        answers={200: Answer("A page of them.", json("CoursePage"))},
        problems={400: "invalid_parameter"},
    ),
    Operation(
        "Courses",
        "courses",
        "POST",
        "saveCourses",
        "Make or replace many courses, all or none",
        parameters=_KEY,
        body=_many("Course", "courses"),
        answers={200: _SAVED},
        problems={400: _BAD_MANY, 422: "idempotency_key_reused", **_BAD_BODY},
    ),
    Operation(
        "Courses",
        "course",
        "GET",
        "getCourse",
        "A course as it is kept",
        answers={200: Answer("The course.", json("KeptCourse"))},
        problems={400: "invalid_course_id", 404: "course_not_found"},
    ),
    Operation(
        "Courses",
        "course",
        "PUT",
        "putCourse",
        "Make a course, or replace it",
        description=(
            "When the answer is there, no process of the service serves the old course. A "
            "capacity may be set below the seats taken: nobody is dropped, none is given."
        ),
        body=json("CourseMembers"),
        answers={
            200: Answer("It was replaced.", json("KeptCourse")),
            201: Answer("It is new.", json("KeptCourse")),
        },
        problems={400: f"invalid_course_id {_BODY}", **_BAD_BODY},
    ),
    Operation(
        "Courses",
        "course",
        "PATCH",
        "patchCourse",
        "Change some members of a course",
        body=json("CourseMembers"),
        answers={200: Answer("The course as it is now.", json("KeptCourse"))},
        problems={400: f"invalid_course_id {_BODY}", 404: "course_not_found", **_BAD_BODY},
    ),
    Operation(
        "Courses",
        "course",
        "DELETE",
        "deleteCourse",
        "Remove a course that nobody was ever enrolled in",
        answers={204: _GONE},
        problems={400: "invalid_course_id", 404: "course_not_found", 409: "course_in_use"},
    ),
)

_LEARNERS = (
    Operation(
        "Learners",
        "learners",
        "POST",
        "saveLearners",
        "Make or replace many learners, all or none",
        parameters=_KEY,
        body=_many("Learner", "learners"),
        answers={200: _SAVED},
        problems={
            400: _BAD_MANY,
            409: "email_taken",
            422: "idempotency_key_reused",
            **_BAD_BODY,
        },
    ),
    Operation(
        "Learners",
        "learner",
        "GET",
        "getLearner",
        "A learner",
        answers={200: Answer("The learner.", json("KeptLearner"))},
        problems={400: "invalid_username", 404: "learner_not_found"},
    ),
    Operation(
        "Learners",
        "learner",
        "PUT",
        "putLearner",
        "Make a learner, or replace one",
        body=json("LearnerMembers"),
        answers={
            200: Answer("The learner was replaced.", json("KeptLearner")),
            201: Answer("The learner is new.", json("KeptLearner")),
        },
        problems={400: f"invalid_username {_BODY}", 409: "email_taken", **_BAD_BODY},
    ),
    Operation(
        "Learners",
        "learner",
        "DELETE",
        "deleteLearner",
        "Remove a learner who was never enrolled",
        answers={204: _GONE},
        problems={400: "invalid_username", 404: "learner_not_found", 409: "learner_in_use"},
    ),
)

_INVITED = "{course_id}/{email}"
_ADDRESS = "invalid_course_id invalid_email"
_INVITATIONS = (
    Operation(
        "Invitations",
        "invitation",
        "GET",
        "getInvitation",
        "An invitation",
        tail=_INVITED,
        answers={200: Answer("The invitation.", json("KeptInvitation"))},
        problems={400: _ADDRESS, 404: "not_found"},
    ),
    Operation(
        "Invitations",
        "invitation",
        "PUT",
        "putInvitation",
        "Invite somebody to a course, or change the invitation",
        description="The course need not exist yet. An invitation that was used stays used.",
        tail=_INVITED,
        body=json("Invitation"),
        body_required=False,
        answers={
            200: Answer("It was changed.", json("KeptInvitation")),
            201: Answer("It is new.", json("KeptInvitation")),
        },
        problems={400: f"{_ADDRESS} {_BODY}", **_BAD_BODY},
    ),
    Operation(
        "Invitations",
        "invitation",
        "DELETE",
        "deleteInvitation",
        "Take an invitation back",
        tail=_INVITED,
        answers={204: _GONE},
        problems={400: _ADDRESS, 404: "not_found"},
    ),
)

OPERATIONS = _COURSES + _LEARNERS + _INVITATIONS
