"""How each route of the table is asked: a request by caller and relation to the thing."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from tests.support import oauth
from tests.support.gateway import AUDIT, fresh, utc_now
from tests.support.relations.about import About, Asked
from tests.support.relations.callers import ENROLLERS
from tests.support.relations.cast import Cast
from tests.support.relations.model import (
    ABSENT,
    NOT_ENROLLED,
    OTHER,
    OWN,
    Key,
)
from tests.support.relations.version_2_routes import FIRST_VERSIONS

#: Makes a request; a maker can serve several routes, such as the versions of one.
Maker = Callable[[About], Asked]

_ASYNC = {"Prefer": "respond-async"}
_MOODLE = "username,firstname,lastname,email,course1\n{0},O,L,{0}@example.org,MATH-101\n"


# --- enrollments --------------------------------------------------------------------------


def _detail(about: About) -> Asked:
    return Asked(about.path(names=",".join(about.learner)))


def _history(about: About) -> Asked:
    return Asked(about.path(names=",".join(about.learner) + "/history"))


def _detail_of_caller(about: About) -> Asked:
    return Asked(about.path(names=about.cast.own))


def _list(about: About) -> Asked:
    return Asked(about.path(f"user={about.learner[0]}"))


def _enroll(about: About) -> Asked:
    user, course_id = about.learner
    if about.relation == NOT_ENROLLED:
        user = about.cast.gateway.person()  # others ask about the one who stays out
    body = {"user": user, "course_details": {"course_id": course_id}}
    return Asked(about.path(), {"json": body, "headers": _ASYNC})


def _enroll_by_email(about: About) -> Asked:
    user, course_id = about.learner
    body = {"email": about.cast.email_of(user), "course_details": {"course_id": course_id}}
    return Asked(about.path(), {"json": body, "headers": _ASYNC})


def _enroll_caller(about: About) -> Asked:
    body = {"course_details": {"course_id": about.cast.own}}
    return Asked(about.path(), {"json": body, "headers": _ASYNC})


def _filtered(about: About) -> Asked:
    return Asked(about.path(f"username={about.learner[0]}"))


def _account(about: About) -> Asked:
    return Asked(about.path(username=about.learner[0]))


def _account_by_email(about: About) -> Asked:
    return Asked(about.path(f"email={quote(about.cast.email_of(about.learner[0]))}"))


# --- submissions --------------------------------------------------------------------------


def _submission(about: About) -> Asked:
    other = about.cast.other_submission
    own = about.cast.submissions.get(about.caller, other)
    wanted = {OWN: own, OTHER: other, ABSENT: str(uuid4())}[about.relation]
    return Asked(about.path(id=wanted))


def _waiting_submission(about: About) -> Asked:
    cast, wanted = about.cast, str(uuid4())
    if about.relation != ABSENT:
        is_own = about.relation == OWN and about.caller in cast.submissions
        who = cast.headers[about.caller] if is_own else cast.stranger
        user = cast.usernames.get(about.caller, cast.other_learner)
        wanted = cast.accepted(who, user, cast.own)
    return Asked(about.path(id=wanted))


def _missing_ids(about: About) -> Asked:
    cast, source, wanted = about.cast, fresh("source"), str(uuid4())
    if about.relation != ABSENT:
        is_own = about.relation == OWN and about.caller in ENROLLERS
        who = cast.headers[about.caller] if is_own else cast.stranger
        file = _MOODLE.format(fresh("oda"))
        wanted = cast.gateway.submit(file, who, params={"source": source}).json["submission_id"]
    return Asked(about.path(f"submission={wanted}", source=source))


def _upload(about: About) -> Asked:
    body = f"user,course_id\n{fresh('ann')},{about.cast.own}\n"
    return Asked(about.path(), {"body": body, "headers": {"Content-Type": "text/csv"}})


def _bulk_enroll(about: About) -> Asked:
    body = {"identifiers": about.cast.idle_learner, "courses": about.cast.own, "action": "enroll"}
    return Asked(about.path(), {"json": body, "headers": _ASYNC})


def _unenroll(about: About) -> Asked:
    user = fresh("missing")
    if about.is_there:
        user = about.cast.gateway.person(is_retiring=True)
        about.cast.accepted(about.cast.gateway.admin, user, about.cast.own)
        about.cast.gateway.work()
    return Asked(about.path(), {"json": {"username": user}, "headers": _ASYNC})


# --- records ------------------------------------------------------------------------------


def _course(**more: Any) -> Maker:
    def make(about: About) -> Asked:
        course_id = f"course-v1:Uni+{fresh('K')}+1"
        if about.is_there:
            about.cast.gateway.course(AUDIT, course_id=course_id)
        return Asked(about.path(course_id=course_id), dict(more))

    return make


def _course_details(about: About) -> Asked:
    course_id = about.cast.own if about.is_there else "course-v1:No+Such+One"
    return Asked(about.path(course_id=course_id))


def _courses(about: About) -> Asked:
    body = json.dumps([{"course_id": about.cast.gateway.course(AUDIT), "course_name": "Algebra"}])
    more = {"body": body, "headers": {"Content-Type": "application/json"}}
    return Asked(about.path(), more)


def _shown_learner(about: About) -> Asked:
    """A caller without a username asks about somebody else."""
    return Asked(about.path(username=about.learner[0] or about.cast.other_learner))


def _learner(**more: Any) -> Maker:
    def make(about: About) -> Asked:
        username = about.cast.gateway.person() if about.is_there else fresh("missing")
        return Asked(about.path(username=username), dict(more))

    return make


def _learners(about: About) -> Asked:
    return Asked(about.path(), {"json": [{"username": fresh("ann")}]})


def _invited(about: About) -> tuple[str, str]:
    email = f"{fresh('guest')}@example.org"
    if about.is_there:
        with about.cast.gateway.sessions.begin() as session:
            invitations.save(session, Invitation(about.cast.own, email), now=utc_now())
    return about.cast.own, email


def _invitation(about: About) -> Asked:
    return Asked(about.path(rest="/".join(_invited(about))))


def _allowed(about: About) -> Asked:
    course_id, email = _invited(about)
    body = {"course_id": course_id, "email": email}
    return Asked(about.path(), {"json": body})


def _crosswalk(about: About) -> Asked:
    body = [{"kind": "course", "theirs": "MATH-101", "ours": "course-v1:Uni+Math+1"}]
    return Asked(about.path(source=fresh("source")), {"json": body})


def _course_role(**more: Any) -> Maker:
    def make(about: About) -> Asked:
        path = about.path(rest=f"{about.cast.elsewhere}/{fresh('tea')}")
        if about.is_there:
            about.cast.gateway.call("PUT", path, about.cast.gateway.admin, json={"role": "support"})
        return Asked(path, dict(more))

    return make


_DESTINATION = {
    "kind": "openedx",
    "url": "https://lms.example.org",
    "auth": {"api_key": "a key of the LMS"},
    "paused": True,
}


def _new_webhook() -> dict[str, str]:
    """Returns a webhook at a host of its own: their number at one host is limited."""
    return {"url": f"https://{fresh('hooks')}.example.org/enrollments"}


def _webhooks(about: About) -> Asked:
    return Asked(about.path(), {"json": _new_webhook()})


def _webhook(**more: Any) -> Maker:
    def make(about: About) -> Asked:
        gateway, wanted = about.cast.gateway, str(uuid4())
        if about.is_there:
            wanted = gateway.post("webhooks", gateway.admin, json=_new_webhook()).json["id"]
        return Asked(about.path(webhook=wanted, delivery="1"), dict(more))

    return make


def _destination(**more: Any) -> Maker:
    def make(about: About) -> Asked:
        gateway, wanted = about.cast.gateway, fresh("lms")
        if about.is_there:
            made = gateway.call("PUT", f"destinations/{wanted}", gateway.admin, json=_DESTINATION)
            assert made.status_code == 201
        path = about.path(destination=wanted, delivery="1", report=str(uuid4()))
        return Asked(path, dict(more))

    return make


def _access_token(about: About) -> Asked:
    client = fresh("client")
    oauth.add_client(about.cast.gateway.sessions, client, user="ada")
    return Asked(oauth.PATH, oauth.form(oauth.grant(client)))


def _plain(about: About) -> Asked:
    return Asked(about.path())


MAKERS: Mapping[Key, Maker] = {
    Key("enrollment", "GET"): _list,
    Key("enrollment", "POST"): _enroll,
    Key("enrollment", "POST", "by e-mail"): _enroll_by_email,
    Key("enrollment", "POST", "of the caller"): _enroll_caller,
    Key("enrollment_detail", "GET"): _detail,
    Key("enrollment_detail", "GET", "history"): _history,
    Key("enrollment_detail", "GET", "of the caller"): _detail_of_caller,
    Key("eligibility", "GET"): _detail,
    Key("enrollments", "GET"): _filtered,
    Key("unenroll", "POST"): _unenroll,
    Key("enrollment_allowed", "POST"): _allowed,
    Key("enrollment_allowed", "DELETE"): _allowed,
    Key("accounts", "GET", "by username"): _filtered,
    Key("accounts", "GET", "by e-mail"): _account_by_email,
    Key("bulk_enroll", "POST"): _bulk_enroll,
    Key("course_details", "GET"): _course_details,
    Key("v2_course_details", "GET"): _course_details,
    Key("v2_course_legacy", "GET"): _course_details,
    Key("catalog_course", "GET"): _course_details,
    Key("account", "GET"): _account,
    Key("access_token", "POST"): _access_token,
    Key("submissions", "POST"): _upload,
    Key("submission", "GET"): _submission,
    Key("submission_events", "GET"): _submission,
    Key("submission_outcomes", "GET"): _submission,
    Key("submission_cancel", "POST"): _waiting_submission,
    Key("submission_cancel", "POST", "finished"): _submission,
    Key("crosswalk_missing", "GET"): _missing_ids,
    Key("courses", "POST"): _courses,
    Key("courses", "PATCH"): _courses,
    Key("course", "GET"): _course(),
    Key("course", "PUT"): _course(json={"course_name": "Algebra"}),
    Key("course", "PATCH"): _course(json={"course_name": "Algebra"}),
    Key("course", "DELETE"): _course(),
    Key("learners", "POST"): _learners,
    Key("learner", "GET"): _shown_learner,
    Key("learner", "PUT"): _learner(json={"is_active": True}),
    Key("learner", "DELETE"): _learner(),
    Key("invitation", "GET"): _invitation,
    Key("invitation", "PUT"): _invitation,
    Key("invitation", "DELETE"): _invitation,
    Key("crosswalk", "GET"): _crosswalk,
    Key("crosswalk", "PUT"): _crosswalk,
    Key("crosswalk", "PATCH"): _crosswalk,
    Key("destination_reconcile", "POST"): _destination(),
    Key("destination_pull", "POST"): _destination(),
    Key("destination_import", "POST"): _destination(),
    Key("destination_report", "GET"): _destination(),
    Key("webhooks", "POST"): _webhooks,
    Key("webhook", "GET"): _webhook(),
    Key("webhook", "PUT"): _webhook(json=_new_webhook()),
    Key("webhook", "DELETE"): _webhook(),
    Key("webhook_rotate", "POST"): _webhook(),
    Key("webhook_enable", "POST"): _webhook(),
    Key("webhook_disable", "POST"): _webhook(),
    Key("webhook_redeliver", "POST"): _webhook(json={"first": 1, "last": 2}),
    Key("webhook_deliveries", "GET"): _webhook(),
    Key("webhook_delivery_redeliver", "POST"): _webhook(),
    Key("destination", "GET"): _destination(),
    Key("destination", "PUT"): _destination(json=_DESTINATION),
    Key("destination", "DELETE"): _destination(),
    Key("destination_pause", "POST"): _destination(),
    Key("destination_resume", "POST"): _destination(),
    Key("destination_retry", "POST"): _destination(),
    Key("destination_deliveries", "GET"): _destination(),
    Key("destination_delivery_retry", "POST"): _destination(),
    Key("course_role", "GET"): _course_role(),
    Key("course_role", "PUT"): _course_role(json={"role": "staff"}),
    Key("course_role", "DELETE"): _course_role(),
}


def request_for(key: Key, cast: Cast, relation: str, caller: str) -> Asked:
    """Returns a request of the caller; what it is about is created where it must exist."""
    make = MAKERS.get(FIRST_VERSIONS.get(key, key), _plain)
    return make(About(cast, key.route, relation, caller))
