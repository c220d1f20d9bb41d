"""Operations of version 2 of the Open edX API: those of version 1 in other words."""

from collections.abc import Mapping
from types import MappingProxyType

from api_gateway.openapi.model import Operation, Response, json_content
from api_gateway.openapi.operations import courses, enrollments, openedx
from api_gateway.resources.openedx_v2.resources import LEGACY

_PRIVATE = "Cache-Control"
_OLD_NAME = f"{_PRIVATE} Deprecation"
_V1: Mapping[str, Operation] = {
    operation.id: operation
    for operations in (
        enrollments.OPERATIONS,
        courses.OPERATIONS,
        openedx.RELATIONS,
        openedx.INVITATIONS,
    )
    for operation in operations
}
_NO_PAGE: Mapping[int, str] = MappingProxyType({404: "invalid_parameter"})
#: On a route that is not of version 1 this reason would be 404.
_UNKNOWN_COURSE: Mapping[int, str] = MappingProxyType({400: "course_not_found"})


def _like_v1(id_: str, route: str, problems: str, **changes: object) -> Operation:
    """Returns an operation of version 1 with another route and other problems.

    No body of a problem is empty, and none is a string.
    """
    operation = _V1[id_]
    bodies = {status: one for status, one in operation.responses.items() if status < 400}  # noqa: PLR2004
    made = operation._replace(
        route=route,
        id=f"{id_}V2",
        summary=f"{operation.summary} (version 2)",
        description=operation.description or f"As `{id_}`; errors are problem details.",
        responses=bodies,
        problems=problems,
        ignores_unknown=True,
    )
    return made._replace(**changes)  # type: ignore[arg-type]


def _by_older_path(operation: Operation, legacy_route: str) -> Operation:
    return operation._replace(
        route=legacy_route,
        id=f"{operation.id}Legacy",
        summary=f"{operation.summary}, by its older path",
        description=f"The same as `{operation.id}`.",
    )


_OPERATIONS = (
    _like_v1(
        "askEnrollment",
        "v2_enrollment",
        _V1["askEnrollment"].problems.replace("course_not_found ", "") + " not_found",
        other_problems=_UNKNOWN_COURSE,
    ),
    Operation(
        "v2_enrollment",
        "GET",
        "listLearnerEnrollments",
        "List the enrollments of one learner in pages",
        description=(
            "Also inactive ones. Without user, those of the caller; of somebody else only in the "
            "courses of which the caller is staff, unless the caller may see all."
        ),
        parameters="user same_as_user page numbered_page_size ordering view",
        responses={
            200: Response(
                "A page; empty if the caller may not see any.",
                json_content("LearnerPage"),
                _PRIVATE,
            )
        },
        problems="invalid_parameter",
        other_problems=_NO_PAGE,
        problem_headers=_PRIVATE,
        ignores_unknown=True,
    ),
    Operation(
        "v2_enrollments",
        "GET",
        "listEnrollmentsV2",
        "List all enrollments in numbered pages",
        description=(
            "Newest first, also inactive ones. Filters are combined with AND. `next` has a cursor, "
            "which leads to any depth; a page that is asked for by its number alone may have up to "
            "10,000 rows before it. `count` may be 30 seconds old where it is large. A parameter "
            "that looks like a filter (`user` for `username`) is 400; other unknown ones are "
            "ignored."
        ),
        parameters=(
            "course_key course_keys old_course_key old_course_keys usernames emails page "
            "numbered_page_size cursor"
        ),
        responses={200: Response("A page.", json_content("AllPage"), _OLD_NAME)},
        problems="invalid_parameter",
        other_problems=_NO_PAGE,
        problem_headers=_OLD_NAME,
        ignores_unknown=True,
    ),
    _like_v1("getEnrollment", "v2_enrollment_detail", "not_found"),
    _like_v1("getOwnEnrollment", "v2_enrollment_detail", "not_found"),
    _like_v1("getCourseDetails", "v2_course_details", "course_not_found"),
    _like_v1(
        "listRoles",
        "v2_roles",
        "no_user invalid_parameter",
        parameters="course_key old_course_key",
        responses={
            200: _V1["listRoles"].responses[200]._replace(headers=_OLD_NAME),
        },
        problem_headers=_OLD_NAME,
    ),
    _like_v1(
        "unenrollRetiring",
        "v2_unenroll",
        _V1["unenrollRetiring"].problems + " not_found",
    ),
    *(
        _like_v1(id_, "v2_enrollment_allowed", _V1[id_].problems)
        for id_ in ("listAllowed", "createAllowed", "deleteAllowed")
    ),
)
OPERATIONS = _OPERATIONS + tuple(
    _by_older_path(operation, legacy_route)
    for legacy_route, route in LEGACY.items()
    for operation in _OPERATIONS
    if operation.route == route
)
