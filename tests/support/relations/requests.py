"""How each route of the table is asked: a request by caller and relation to the thing."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from api_gateway.routes import ROUTES
from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from tests.support import oauth
from tests.support.gateway import AUDIT, fresh, utc_now
from tests.support.relations.callers import ENROLLERS
from tests.support.relations.cast import Cast
from tests.support.relations.model import (
    ABSENT,
    NO_COURSE,
    NOT_ENROLLED,
    OTHER,
    OWN,
    STAFFED,
    THERE,
    Key,
)


class Asked(NamedTuple):
    """A request: its path, and the arguments of `Gateway.call`."""

    path: str
    more: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)


#: Makes a request about a thing in a relation to a caller.
Maker = Callable[[Cast, str, str], Asked]

_ASYNC = {"Prefer": "respond-async"}
_MOODLE = "username,firstname,lastname,email,course1\n{0},O,L,{0}@example.org,MATH-101\n"


def path_of(route: str, **names: str) -> str:
    """Returns the path of a route."""
    return ROUTES[route].replace(":path", "").format(**names)


def learner_in(cast: Cast, relation: str, caller: str) -> tuple[str, str]:
    """Returns the username and the course of an enrollment in this relation."""
    return {
        OWN: (cast.usernames.get(caller, ""), cast.own),
        STAFFED: (cast.taught_learner, cast.taught),
        OTHER: (cast.other_learner, cast.elsewhere),
        ABSENT: (fresh("missing"), cast.elsewhere),
        NOT_ENROLLED: (cast.idle_learner, cast.elsewhere),
        NO_COURSE: (cast.other_learner, f"course-v1:No+{fresh('N')}+1"),
    }[relation]


# --- enrollments --------------------------------------------------------------------------


def _names(route: str, ending: str = "") -> Maker:
    def make(cast: Cast, relation: str, caller: str) -> Asked:
        names = ",".join(learner_in(cast, relation, caller))
        return Asked(path_of(route, names=names + ending))

    return make


def _list(cast: Cast, relation: str, caller: str) -> Asked:
    user = learner_in(cast, relation, caller)[0]
    return Asked(f"{path_of('enrollment')}?user={user}")


def _enroll(cast: Cast, relation: str, caller: str) -> Asked:
    user, course_id = learner_in(cast, relation, caller)
    body = {"user": user, "course_details": {"course_id": course_id}}
    return Asked(path_of("enrollment"), {"json": body, "headers": _ASYNC})


def _enroll_by_email(cast: Cast, relation: str, caller: str) -> Asked:
    user, course_id = learner_in(cast, relation, caller)
    body = {"email": cast.email_of(user), "course_details": {"course_id": course_id}}
    return Asked(path_of("enrollment"), {"json": body, "headers": _ASYNC})


def _enroll_caller(cast: Cast, _relation: str, _caller: str) -> Asked:
    body = {"course_details": {"course_id": cast.own}}
    return Asked(path_of("enrollment"), {"json": body, "headers": _ASYNC})


def _filtered(cast: Cast, relation: str, caller: str) -> Asked:
    return Asked(f"{path_of('enrollments')}?username={learner_in(cast, relation, caller)[0]}")


def _account(parameter: str) -> Maker:
    def make(cast: Cast, relation: str, caller: str) -> Asked:
        user = learner_in(cast, relation, caller)[0]
        text = user if parameter == "username" else quote(cast.email_of(user))
        return Asked(f"{path_of('accounts')}?{parameter}={text}")

    return make


# --- submissions --------------------------------------------------------------------------


def _submission(route: str) -> Maker:
    def make(cast: Cast, relation: str, caller: str) -> Asked:
        own = cast.submissions.get(caller, cast.other_submission)
        wanted = {OWN: own, OTHER: cast.other_submission, ABSENT: str(uuid4())}[relation]
        return Asked(path_of(route, id=wanted))

    return make


def _waiting_submission(cast: Cast, relation: str, caller: str) -> Asked:
    user, course_id = cast.usernames.get(caller, cast.other_learner), cast.own
    wanted = str(uuid4())
    if relation != ABSENT:
        is_own = relation == OWN and caller in cast.submissions
        who = cast.headers[caller] if is_own else cast.stranger
        wanted = cast.accepted(who, user, course_id)
    return Asked(path_of("submission_cancel", id=wanted))


def _missing_ids(cast: Cast, relation: str, caller: str) -> Asked:
    source, wanted = fresh("source"), str(uuid4())
    if relation != ABSENT:
        who = cast.headers[caller] if relation == OWN and caller in ENROLLERS else cast.stranger
        file = _MOODLE.format(fresh("oda"))
        wanted = cast.gateway.submit(file, who, params={"source": source}).json["submission_id"]
    return Asked(f"{path_of('crosswalk_missing', source=source)}?submission={wanted}")


def _upload(cast: Cast, _relation: str, _caller: str) -> Asked:
    body = f"user,course_id\n{fresh('ann')},{cast.own}\n"
    return Asked(path_of("submissions"), {"body": body, "headers": {"Content-Type": "text/csv"}})


def _bulk_enroll(cast: Cast, _relation: str, _caller: str) -> Asked:
    body = {"identifiers": cast.idle_learner, "courses": cast.own, "action": "enroll"}
    return Asked(path_of("bulk_enroll"), {"json": body, "headers": _ASYNC})


def _unenroll(cast: Cast, relation: str, _caller: str) -> Asked:
    user = fresh("missing")
    if relation == THERE:
        user = cast.gateway.person(is_retiring=True)
        cast.accepted(cast.gateway.admin, user, cast.own)
        cast.gateway.work()
    return Asked(path_of("unenroll"), {"json": {"username": user}, "headers": _ASYNC})


# --- records ------------------------------------------------------------------------------


def _course(**more: Any) -> Maker:
    def make(cast: Cast, relation: str, _caller: str) -> Asked:
        course_id = f"course-v1:Uni+{fresh('K')}+1"
        if relation == THERE:
            cast.gateway.course(AUDIT, course_id=course_id)
        return Asked(path_of("course", course_id=course_id), dict(more))

    return make


def _course_details(cast: Cast, relation: str, _caller: str) -> Asked:
    course_id = cast.own if relation == THERE else "course-v1:No+Such+One"
    return Asked(path_of("course_details", course_id=course_id))


def _courses(cast: Cast, _relation: str, _caller: str) -> Asked:
    body = json.dumps([{"course_id": cast.gateway.course(AUDIT), "course_name": "Algebra"}])
    more = {"body": body, "headers": {"Content-Type": "application/json"}}
    return Asked(path_of("courses"), more)


def _learner(**more: Any) -> Maker:
    def make(cast: Cast, relation: str, _caller: str) -> Asked:
        username = cast.gateway.person() if relation == THERE else fresh("missing")
        return Asked(path_of("learner", username=username), dict(more))

    return make


def _learners(_cast: Cast, _relation: str, _caller: str) -> Asked:
    return Asked(path_of("learners"), {"json": [{"username": fresh("ann")}]})


def _invited(cast: Cast, relation: str) -> tuple[str, str]:
    email = f"{fresh('guest')}@example.org"
    if relation == THERE:
        with cast.gateway.sessions.begin() as session:
            invitations.save(session, Invitation(cast.own, email), now=utc_now())
    return cast.own, email


def _invitation(cast: Cast, relation: str, _caller: str) -> Asked:
    return Asked(path_of("invitation", rest="/".join(_invited(cast, relation))))


def _allowed(cast: Cast, relation: str, _caller: str) -> Asked:
    course_id, email = _invited(cast, relation)
    body = {"course_id": course_id, "email": email}
    return Asked(path_of("enrollment_allowed"), {"json": body})


def _crosswalk(_cast: Cast, _relation: str, _caller: str) -> Asked:
    body = [{"kind": "course", "theirs": "MATH-101", "ours": "course-v1:Uni+Math+1"}]
    return Asked(path_of("crosswalk", source=fresh("source")), {"json": body})


def _course_role(**more: Any) -> Maker:
    def make(cast: Cast, relation: str, _caller: str) -> Asked:
        path = path_of("course_role", rest=f"{cast.elsewhere}/{fresh('tea')}")
        if relation == THERE:
            cast.gateway.call("PUT", path, cast.gateway.admin, json={"role": "support"})
        return Asked(path, dict(more))

    return make


def _access_token(cast: Cast, _relation: str, _caller: str) -> Asked:
    client = fresh("client")
    oauth.add_client(cast.gateway.sessions, client, user="ada")
    return Asked(oauth.PATH, oauth.form(oauth.grant(client)))


def _plain(route: str) -> Maker:
    return lambda _cast, _relation, _caller: Asked(path_of(route))


def _of_caller(ending: str = "") -> Maker:
    return lambda cast, _relation, _caller: Asked(
        path_of("enrollment_detail", names=cast.own + ending)
    )


MAKERS: Mapping[Key, Maker] = {
    Key("enrollment", "GET"): _list,
    Key("enrollment", "GET", "of the caller"): _plain("enrollment"),
    Key("enrollment", "POST"): _enroll,
    Key("enrollment", "POST", "by e-mail"): _enroll_by_email,
    Key("enrollment", "POST", "of the caller"): _enroll_caller,
    Key("enrollment_detail", "GET"): _names("enrollment_detail"),
    Key("enrollment_detail", "GET", "history"): _names("enrollment_detail", "/history"),
    Key("enrollment_detail", "GET", "of the caller"): _of_caller(),
    Key("eligibility", "GET"): _names("eligibility"),
    Key("enrollments", "GET"): _filtered,
    Key("unenroll", "POST"): _unenroll,
    Key("enrollment_allowed", "POST"): _allowed,
    Key("enrollment_allowed", "DELETE"): _allowed,
    Key("accounts", "GET", "by username"): _account("username"),
    Key("accounts", "GET", "by e-mail"): _account("email"),
    Key("bulk_enroll", "POST"): _bulk_enroll,
    Key("course_details", "GET"): _course_details,
    Key("access_token", "POST"): _access_token,
    Key("submissions", "POST"): _upload,
    Key("submission", "GET"): _submission("submission"),
    Key("submission_events", "GET"): _submission("submission_events"),
    Key("submission_outcomes", "GET"): _submission("submission_outcomes"),
    Key("submission_cancel", "POST"): _waiting_submission,
    Key("submission_cancel", "POST", "finished"): _submission("submission_cancel"),
    Key("crosswalk_missing", "GET"): _missing_ids,
    Key("courses", "POST"): _courses,
    Key("courses", "PATCH"): _courses,
    Key("course", "GET"): _course(),
    Key("course", "PUT"): _course(json={"course_name": "Algebra"}),
    Key("course", "PATCH"): _course(json={"course_name": "Algebra"}),
    Key("course", "DELETE"): _course(),
    Key("learners", "POST"): _learners,
    Key("learner", "GET"): _learner(),
    Key("learner", "PUT"): _learner(json={"is_active": True}),
    Key("learner", "DELETE"): _learner(),
    Key("invitation", "GET"): _invitation,
    Key("invitation", "PUT"): _invitation,
    Key("invitation", "DELETE"): _invitation,
    Key("crosswalk", "GET"): _crosswalk,
    Key("crosswalk", "PUT"): _crosswalk,
    Key("crosswalk", "PATCH"): _crosswalk,
    Key("course_role", "GET"): _course_role(),
    Key("course_role", "PUT"): _course_role(json={"role": "staff"}),
    Key("course_role", "DELETE"): _course_role(),
}


def request_for(key: Key, cast: Cast, relation: str, caller: str) -> Asked:
    """Returns a request of the caller; what it is about is created where it must exist."""
    return MAKERS.get(key, _plain(key.route))(cast, relation, caller)
