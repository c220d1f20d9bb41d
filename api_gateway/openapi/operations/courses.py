"""Operations on courses."""

from api_gateway.openapi.model import Operation, Response, json_content
from api_gateway.openapi.operations.crud import (
    BODY_PROBLEMS,
    TRANSFER_PROBLEMS,
    Resource,
    get_put_delete,
    save_many,
)

_COURSE = Resource(
    "course",
    "Course",
    "a course",
    body="CourseMembers",
    response="KeptCourse",
    bad_url="invalid_course_id",
    not_found="course_not_found",
    put=(
        "After the response no process of the service serves the old course. The capacity may be "
        "lower than the number of seats taken: nobody is unenrolled, and no seat is given."
    ),
    delete="Only a course in which nobody was ever enrolled can be deleted.",
    delete_conflict="course_in_use",
)
_SAVE_MANY = save_many("courses", "Course")
_CACHED = "ETag Cache-Control Vary"

OPERATIONS = (
    Operation(
        "course_details",
        "GET",
        "getCourseDetails",
        "Get course details in the form of Open edX",
        parameters="include_expired If-None-Match",
        responses={
            200: Response("The course.", json_content("CourseDetails"), _CACHED),
            304: Response("Not modified.", headers=_CACHED),
        },
        problems="course_not_found",
        throttled=True,
    ),
    Operation(
        "courses",
        "GET",
        "listCourses",
        "List courses",
        parameters="limit same_as_limit cursor",
        responses={200: Response("A page, ordered by course id.", json_content("CoursePage"))},
        problems="invalid_parameter",
    ),
    _SAVE_MANY,
    _SAVE_MANY._replace(
        method="PATCH",
        responses={
            200: Response("All were saved.", json_content("PatchedCourses"), "Idempotency-Replayed")
        },
        id="patchCourses",
        summary="Create courses, and set members of existing ones",
        description=(
            "Members that are not given stay as they are; in a new course they get their defaults. "
            "course_modes and cohorts are set as a whole. All courses are changed or, if one is "
            "invalid, none. The body of GET /courses is accepted: seats_taken and next are ignored."
        ),
    ),
    *get_put_delete(_COURSE),
    Operation(
        "course",
        "PATCH",
        "patchCourse",
        "Update some members of a course",
        body=json_content("CourseMembers"),
        responses={200: Response("The updated course.", json_content("KeptCourse"))},
        problems=f"invalid_course_id {BODY_PROBLEMS} course_not_found {TRANSFER_PROBLEMS}",
    ),
)
