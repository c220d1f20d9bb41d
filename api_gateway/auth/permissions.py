"""Authorization: permissions by route and method, and checks for one person.

`PERMISSIONS` has an entry for every route and method; a method without one is refused. Usernames
are compared byte by byte. See "Privileges" in docs/openedx-compatibility.md, and the table of all
routes, callers and relations in tests/support/relations.
"""

from collections.abc import Mapping
from typing import NamedTuple

from api_gateway.auth.caller import Caller
from api_gateway.http.problems import forbidden, unauthenticated
from enrollment.domain.codes import CallerKind

#: Modes that learners may choose themselves; None for the default mode.
FREE_MODES = frozenset({None, "audit", "honor"})


class Requirement(NamedTuple):
    """The permission that a route requires: any one of its members is enough."""

    #: No credentials.
    public: bool = False
    #: Any credentials; the resource checks the rest.
    anyone: bool = False
    #: A staff token, or the scope `admin`.
    staff: bool = False
    #: A token, whose subject is asked about or refused by the resource.
    subject: bool = False
    #: One of these scopes; `admin` includes each.
    scopes: frozenset[str] = frozenset()


PUBLIC = Requirement(public=True)
ANYONE = Requirement(anyone=True)
STAFF = Requirement(staff=True)
ENROLL_OR_STAFF = Requirement(staff=True, scopes=frozenset({"enroll"}))
READ_OR_STAFF = Requirement(staff=True, scopes=frozenset({"read"}))
READ_OR_SUBJECT = READ_OR_STAFF._replace(subject=True)
COURSES_SCOPE = Requirement(scopes=frozenset({"courses"}))
ADMIN_SCOPE = Requirement(scopes=frozenset({"admin"}))
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
    ("courses", "POST"): COURSES_SCOPE,
    ("courses", "PATCH"): COURSES_SCOPE,
    ("course", "GET"): COURSES_OR_READ_OR_STAFF,
    ("course", "PUT"): COURSES_SCOPE,
    ("course", "PATCH"): COURSES_SCOPE,
    ("course", "DELETE"): COURSES_SCOPE,
    ("learners", "POST"): STAFF,
    ("learner", "GET"): READ_OR_SUBJECT,
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
    ("destination_reconcile", "POST"): ADMIN_SCOPE,
    ("destination_pull", "POST"): ADMIN_SCOPE,
    ("destination_import", "POST"): ADMIN_SCOPE,
    ("destination_report", "GET"): ADMIN_SCOPE,
    ("webhooks", "GET"): ADMIN_SCOPE,
    ("webhooks", "POST"): ADMIN_SCOPE,
    ("webhook", "GET"): ADMIN_SCOPE,
    ("webhook", "PUT"): ADMIN_SCOPE,
    ("webhook", "DELETE"): ADMIN_SCOPE,
    ("webhook_rotate", "POST"): ADMIN_SCOPE,
    ("webhook_enable", "POST"): ADMIN_SCOPE,
    ("webhook_disable", "POST"): ADMIN_SCOPE,
    ("webhook_redeliver", "POST"): ADMIN_SCOPE,
    ("webhook_deliveries", "GET"): ADMIN_SCOPE,
    ("webhook_delivery_redeliver", "POST"): ADMIN_SCOPE,
    ("destinations", "GET"): ADMIN_SCOPE,
    ("destination", "GET"): ADMIN_SCOPE,
    ("destination", "PUT"): ADMIN_SCOPE,
    ("destination", "DELETE"): ADMIN_SCOPE,
    ("destination_pause", "POST"): ADMIN_SCOPE,
    ("destination_resume", "POST"): ADMIN_SCOPE,
    ("destination_retry", "POST"): ADMIN_SCOPE,
    ("destination_deliveries", "GET"): ADMIN_SCOPE,
    ("destination_delivery_retry", "POST"): ADMIN_SCOPE,
    ("roles", "GET"): ANYONE,
    ("course_role", "GET"): READ_OR_STAFF,
    ("course_role", "PUT"): STAFF,
    ("course_role", "DELETE"): STAFF,
    ("unenroll", "POST"): STAFF,
    ("enrollment_allowed", "GET"): STAFF,
    ("enrollment_allowed", "POST"): STAFF,
    ("enrollment_allowed", "DELETE"): STAFF,
    ("eligibility", "GET"): ANYONE,
    ("accounts", "GET"): ANYONE,
    ("account", "GET"): ANYONE,
    ("me", "GET"): ANYONE,
    ("catalog", "GET"): ANYONE,
    ("catalog_course", "GET"): ANYONE,
    ("v2_enrollment", "GET"): ANYONE,
    ("v2_enrollment", "POST"): ANYONE,
    ("v2_unenroll", "POST"): STAFF,
    ("v2_enrollment_allowed", "GET"): STAFF,
    ("v2_enrollment_allowed", "POST"): STAFF,
    ("v2_enrollment_allowed", "DELETE"): STAFF,
    ("v2_enrollments", "GET"): READ_OR_STAFF,
    ("v2_enrollment_detail", "GET"): ANYONE,
    ("v2_course_details", "GET"): PUBLIC,
    ("v2_roles", "GET"): ANYONE,
    ("v2_unenroll_legacy", "POST"): STAFF,
    ("v2_allowed_legacy", "GET"): STAFF,
    ("v2_allowed_legacy", "POST"): STAFF,
    ("v2_allowed_legacy", "DELETE"): STAFF,
    ("v2_enrollment_legacy", "GET"): ANYONE,
    ("v2_course_legacy", "GET"): PUBLIC,
    ("access_token", "POST"): PUBLIC,
    ("livez", "GET"): PUBLIC,
    ("readyz", "GET"): PUBLIC,
    ("metrics", "GET"): READ_OR_STAFF,
    ("openapi", "GET"): PUBLIC,
    ("docs", "GET"): PUBLIC,
    ("docs_reasons", "GET"): PUBLIC,
    ("docs_style", "GET"): PUBLIC,
}


def check_caller(caller: Caller | None, requirement: Requirement) -> None:
    """Checks the permission for what is not public. Raises Problem 401 or 403."""
    if caller is None:
        raise unauthenticated()
    if not satisfies(caller, requirement):
        advice = describe_missing(caller, requirement)
        raise forbidden("You do not have permission to perform this action.", advice)


def satisfies(caller: Caller, requirement: Requirement) -> bool:
    """Whether a caller has one of the permissions that are enough."""
    if requirement.anyone or (requirement.staff and caller.is_staff):
        return True
    if requirement.subject and caller.username is not None:
        return True
    return any(caller.may(scope) for scope in requirement.scopes)


def describe_missing(caller: Caller, requirement: Requirement) -> str:
    """Returns a sentence that names the scopes that the caller lacks, and those of its key."""
    scopes = sorted(requirement.scopes - {"admin"})
    needed = f"an API key with the scope {' or '.join([*scopes, 'admin'])}"
    staff = ", or the token of a staff member" if requirement.staff else ""
    held = f" The scopes here are: {', '.join(sorted(caller.scopes)) or 'none'}."
    return f"It needs {needed}{staff}.{held}"


def may_act_for(caller: Caller, username: str | None) -> bool:
    """Whether the caller may enroll a person or change their enrollment.

    None stands for a person named by e-mail only, which needs a privileged caller.
    """
    return _is_self(caller, username) or caller.is_staff or caller.may("enroll")


def may_read_about(caller: Caller, username: str | None) -> bool:
    """Whether the caller may see a person's enrollments."""
    return may_act_for(caller, username) or caller.may("read")


def may_see_learner(caller: Caller, username: str) -> bool:
    """Whether the caller may see what is kept about a person: the person, staff, scope `read`."""
    return _is_self(caller, username) or satisfies(caller, READ_OR_STAFF)


class ListedLearner(NamedTuple):
    """A learner whose enrollments a caller may list."""

    username: str
    #: Only those in the courses of which this person is staff; None: all.
    staff: str | None


def listed_learner(caller: Caller, named: str) -> ListedLearner | None:
    """Returns whose enrollments to list to the caller, by default its own; None for none."""
    username = named or caller.username
    may_read = may_read_about(caller, username)
    if username is None or not (may_read or caller.username):
        return None
    return ListedLearner(username, None if may_read else caller.username)


def check_mode(caller: Caller, mode: str | None) -> None:
    """Checks that a learner chooses a free mode. Raises Problem 403 for any other."""
    if caller.kind is CallerKind.LEARNER and mode not in FREE_MODES:
        raise forbidden(f"User does not have permission to create enrollment with mode [{mode}].")


def _is_self(caller: Caller, username: str | None) -> bool:
    return username is not None and caller.username == username
