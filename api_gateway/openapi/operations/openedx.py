"""Operations of Open edX beside its enrollments, and on roles in courses."""

from api_gateway.http.openedx_body import URLENCODED_FORM
from api_gateway.openapi.model import (
    JSON,
    TEXT,
    Operation,
    Response,
    Schema,
    array,
    json_content,
    ref,
    text,
)
from api_gateway.openapi.operations.crud import TRANSFER_PROBLEMS, Resource, get_put_delete
from api_gateway.resources.openedx.unenroll import NO_USERNAME, NOT_RETIRING

_PRIVATE = "Cache-Control"
_STORED_HEADERS = "Location Preference-Applied Idempotency-Replayed"
_BODY_PROBLEMS = f"invalid_body malformed_json malformed_form incomplete_body {TRANSFER_PROBLEMS}"
_KEY_PROBLEMS = "idempotency_key_invalid idempotency_key_reused"


def _in_all_types(schema: Schema) -> dict[str, Schema]:
    """Returns the content of a body that may be JSON or a form."""
    return {JSON: schema, URLENCODED_FORM: schema, "multipart/form-data": schema}


_UNENROLL_BODY = {
    "type": "object",
    "properties": {"username": text("A learner who is retiring.")},
    "required": ["username"],
    "examples": [{"username": "ada"}],
}

RELATIONS = (
    Operation(
        "roles",
        "GET",
        "listRoles",
        "List the roles of the caller in courses",
        description=(
            "Needs a token: a key has no user. Each role is staff, instructor, limited_staff or "
            "support, in one course."
        ),
        parameters="one_course",
        responses={
            200: Response(
                "The roles, and whether the caller is staff of the whole site.",
                json_content("Roles"),
                _PRIVATE,
            )
        },
        problems="no_user",
        problem_headers=_PRIVATE,
    ),
    *get_put_delete(
        Resource(
            "course_role",
            "CourseRole",
            "the role of a person in a course",
            body="CourseRoleMembers",
            response="CourseRole",
            bad_url="invalid_course_id invalid_username",
            not_found="not_found",
            put=(
                "A person has one role in a course; neither of them need exist yet. The roles "
                "staff and instructor have staff access to the course."
            ),
            tail="{course_id}/{username}",
        )
    ),
    Operation(
        "unenroll",
        "POST",
        "unenrollRetiring",
        "Unenroll a retiring learner from every course",
        description=(
            "The learner must have been saved with `retiring`. The withdrawals are a submission in "
            "the interactive lane: all of them, or none. The response waits for it: 20 seconds, or "
            "as long as `Prefer: wait=N` says. After that it is 202."
        ),
        parameters="Prefer Idempotency-Key",
        body=_in_all_types(_UNENROLL_BODY),
        body_required=False,
        responses={
            200: Response(
                "The organizations whose courses the learner left, each once.",
                {JSON: {**array(TEXT), "examples": [["Uni"]]}},
                f"{_STORED_HEADERS} {_PRIVATE}",
            ),
            202: Response(
                "Stored durably, but not finished.",
                json_content("Submission"),
                f"{_STORED_HEADERS} ETag Retry-After {_PRIVATE}",
            ),
            204: Response("The learner was in no course.", headers=f"{_STORED_HEADERS} {_PRIVATE}"),
            404: Response(
                "The body has no username, or the learner is not retiring.",
                {JSON: text(enum=[NO_USERNAME, NOT_RETIRING])},
                _PRIVATE,
            ),
        },
        problems=f"{_BODY_PROBLEMS} {_KEY_PROBLEMS} idempotency_key_in_flight cancelled",
        problem_headers=f"{_STORED_HEADERS} {_PRIVATE}",
    ),
)

_ALLOWED = Operation(
    "enrollment_allowed",
    "GET",
    "listAllowed",
    "List the invitations of an e-mail address in the form of Open edX",
    description="The same invitations as those of `/invitations/{course_id}/{email}`.",
    parameters="invited",
    responses={200: Response("Oldest first.", {JSON: array(ref("AllowedEnrollment"))}, _PRIVATE)},
    problem_headers=_PRIVATE,
)
INVITATIONS = (
    _ALLOWED,
    _ALLOWED._replace(
        method="POST",
        id="createAllowed",
        summary="Invite an e-mail address in the form of Open edX",
        description="The course need not exist yet. In a form, auto_enroll is true or false.",
        parameters="Idempotency-Key",
        body=_in_all_types(ref("NewAllowedEnrollment")),
        responses={
            201: Response(
                "Created.",
                json_content("AllowedEnrollment"),
                f"Idempotency-Replayed {_PRIVATE}",
            )
        },
        problems=f"{_BODY_PROBLEMS} {_KEY_PROBLEMS} already_exists",
    ),
    _ALLOWED._replace(
        method="DELETE",
        id="deleteAllowed",
        summary="Delete an invitation in the form of Open edX",
        description="The body names it.",
        parameters="",
        body=_in_all_types(ref("AllowedEnrollmentKey")),
        responses={204: Response("Deleted.", headers=_PRIVATE)},
        problems=f"{_BODY_PROBLEMS} not_found",
    ),
)

ACCOUNTS = (
    Operation(
        "accounts",
        "GET",
        "listAccounts",
        "List accounts by username or e-mail",
        description=(
            "The accounts that exist and that the caller may see; without a parameter its own. "
            "With both, the usernames count."
        ),
        parameters="accounts_by_name accounts_by_email",
        responses={200: Response("At least one.", {JSON: array(ref("Account"))}, _PRIVATE)},
        problems="not_found",
        problem_headers=_PRIVATE,
    ),
    Operation(
        "account",
        "GET",
        "getAccount",
        "Get an account by its username",
        description="An account that the caller may not see is not found.",
        responses={200: Response("The account.", json_content("Account"), _PRIVATE)},
        problems="not_found",
        problem_headers=_PRIVATE,
    ),
    Operation(
        "me",
        "GET",
        "getMe",
        "Get the username of the caller",
        description="That of the token; a key has no user.",
        responses={200: Response("The user of the token.", json_content("Me"), _PRIVATE)},
        problem_headers=_PRIVATE,
    ),
)

CATALOG = (
    Operation(
        "catalog",
        "GET",
        "listCatalog",
        "List courses in the form of Open edX",
        description="All courses, also invite-only ones, in pages by number.",
        parameters="page numbered_page_size org",
        responses={200: Response("Ordered by course id.", json_content("CatalogPage"), _PRIVATE)},
        other_problems={404: "invalid_parameter"},
        problem_headers=_PRIVATE,
    ),
    Operation(
        "catalog_course",
        "GET",
        "getCatalogCourse",
        "Get a course in the form of Open edX's list",
        description="Also an invite-only course.",
        responses={200: Response("The course.", json_content("CatalogCourse"), _PRIVATE)},
        problems="invalid_course_id course_not_found",
        problem_headers=_PRIVATE,
    ),
)

ELIGIBILITY = (
    Operation(
        "eligibility",
        "GET",
        "getEligibility",
        "Ask whether a request would be accepted",
        description=(
            "The request of the caller for the learner is decided as a worker would decide it now, "
            "and nothing is stored. `outcome` is the outcome that it would have."
        ),
        parameters="mode",
        tail="{username},{course_id}",
        responses={200: Response("The outcome.", json_content("Eligibility"), _PRIVATE)},
        problems="not_found invalid_course_id invalid_username option_invalid",
        problem_headers=_PRIVATE,
    ),
)
