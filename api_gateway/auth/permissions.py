"""Authorization: permissions by route and method, and checks about one person.

Open edX's privilege table as data. Every route and method has an entry in ``PERMISSIONS``; a
missing one is a bug, and is refused. Usernames are compared byte by byte.
"""

from collections.abc import Mapping
from typing import NamedTuple

from api_gateway.auth.caller import Caller
from api_gateway.http.problems import forbidden, unauthenticated
from enrollment.domain.codes import CallerKind

#: Modes that learners may choose themselves; None for the default mode.
FREE_MODES = frozenset({None, "audit", "honor"})


class Requirement(NamedTuple):
    """What a caller needs: any one of these is enough."""

    #: No credentials.
    public: bool = False
    #: Any credentials; the resource checks what they allow.
    anyone: bool = False
    #: A staff token, or the scope ``admin``.
    staff: bool = False
    #: One of these scopes; ``admin`` includes each.
    scopes: frozenset[str] = frozenset()


PUBLIC = Requirement(public=True)
ANYONE = Requirement(anyone=True)
STAFF = Requirement(staff=True)
ENROLL_OR_STAFF = Requirement(staff=True, scopes=frozenset({"enroll"}))
READ_OR_STAFF = Requirement(staff=True, scopes=frozenset({"read"}))
COURSES = Requirement(scopes=frozenset({"courses"}))
COURSES_OR_READ_OR_STAFF = Requirement(staff=True, scopes=frozenset({"courses", "read"}))

#: Requirements by route name and method.
PERMISSIONS: Mapping[tuple[str, str], Requirement] = {
    ("enrollment", "GET"): ANYONE,
    ("enrollment", "POST"): ANYONE,
    ("enrollment_detail", "GET"): ANYONE,
    ("enrollments", "GET"): READ_OR_STAFF,
    ("course_details", "GET"): PUBLIC,
    ("submissions", "GET"): ANYONE,
    ("submissions", "POST"): ENROLL_OR_STAFF,
    ("submission", "GET"): ANYONE,
    ("submission_events", "GET"): ANYONE,
    ("submission_outcomes", "GET"): ANYONE,
    ("submission_cancel", "POST"): ANYONE,
    ("bulk_enroll", "POST"): STAFF,
    ("courses", "GET"): COURSES_OR_READ_OR_STAFF,
    ("courses", "POST"): COURSES,
    ("course", "GET"): COURSES_OR_READ_OR_STAFF,
    ("course", "PUT"): COURSES,
    ("course", "PATCH"): COURSES,
    ("course", "DELETE"): COURSES,
    ("learners", "POST"): STAFF,
    ("learner", "GET"): READ_OR_STAFF,
    ("learner", "PUT"): STAFF,
    ("learner", "DELETE"): STAFF,
    ("invitation", "GET"): ENROLL_OR_STAFF,
    ("invitation", "PUT"): ENROLL_OR_STAFF,
    ("invitation", "DELETE"): ENROLL_OR_STAFF,
    ("crosswalk", "GET"): ENROLL_OR_STAFF,
    ("crosswalk", "PUT"): STAFF,
    ("crosswalk", "PATCH"): STAFF,
    ("crosswalk_missing", "GET"): ENROLL_OR_STAFF,
    ("changes", "GET"): READ_OR_STAFF,
    ("livez", "GET"): PUBLIC,
    ("readyz", "GET"): PUBLIC,
    ("openapi", "GET"): PUBLIC,
    ("docs", "GET"): PUBLIC,
    ("docs_reasons", "GET"): PUBLIC,
}


def authorize(caller: Caller | None, route: str, method: str) -> None:
    """Check the caller's permission. Raises Problem 401 or 403.

    Raises LookupError for a route and method without an entry in the table.
    """
    need = PERMISSIONS[route, method]
    if need.public:
        return
    if caller is None:
        raise unauthenticated()
    if not _satisfies(caller, need):
        raise forbidden("You do not have permission to perform this action.")


def _satisfies(caller: Caller, need: Requirement) -> bool:
    if need.anyone or (need.staff and caller.is_staff):
        return True
    return any(caller.may(scope) for scope in need.scopes)


def may_act_for(caller: Caller, username: str | None) -> bool:
    """Whether the caller may enroll a person or change their enrollment.

    None stands for a person known by e-mail alone, whom only a privileged caller may name.
    """
    return _is_self(caller, username) or caller.is_staff or caller.may("enroll")


def may_read_about(caller: Caller, username: str | None) -> bool:
    """Whether the caller may see a person's enrollments."""
    return may_act_for(caller, username) or caller.may("read")


def check_mode(caller: Caller, mode: str | None) -> None:
    """Check that a learner chooses a free mode. Raises Problem 403 for any other."""
    if caller.kind is CallerKind.LEARNER and mode not in FREE_MODES:
        raise forbidden(f"User does not have permission to create enrollment with mode [{mode}].")


def _is_self(caller: Caller, username: str | None) -> bool:
    return username is not None and caller.username == username
