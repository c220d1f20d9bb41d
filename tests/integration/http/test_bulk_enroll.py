"""POST /api/bulk_enroll/v1/bulk_enroll: upstream's lists, worked like every other submission."""

import pytest

from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from tests.support.form_bodies import media_of
from tests.support.gateway import AUDIT, VERIFIED, Gateway, ago, ahead, fresh, utc_now

PATH = "/api/bulk_enroll/v1/bulk_enroll"
NOWHERE = {"user": False, "enrollment": False, "allowed": False, "auto_enroll": False}
OUT = NOWHERE | {"user": True}
IN = OUT | {"enrollment": True}


def ask(gateway, who=None, *, headers=None, **body):
    body = {"action": "enroll", **body}
    return gateway.answered("POST", PATH, who or gateway.admin, json=body, headers=headers or {})


def results(answer, course_id):
    assert answer.status_code == 200, answer.text
    return answer.json["courses"][course_id]["results"]


def result(answer, course_id):
    (one,) = results(answer, course_id)
    return one


def invitation(gateway, course_id, email):
    with gateway.sessions.read() as session:
        return invitations.find(session, course_id, email)


def standing(gateway, user, course_id):
    return gateway.get(f"enrollment/{user},{course_id}", gateway.admin).json


def addressed():
    return f"{fresh('p')}@example.org"


# --- who is enrolled, who is invited ------------------------------------------------------


@pytest.mark.parametrize("named_by", ["username", "email", "EMAIL"])
def test_who_is_known_is_enrolled_by_name_or_by_email(gateway, named_by):
    email = addressed()
    user = gateway.person(email=email)
    identifier = {"username": user, "email": email, "EMAIL": email.upper()}[named_by]
    course_id = gateway.course(AUDIT)
    answer = ask(gateway, identifiers=identifier, courses=course_id, email_students=True)
    assert answer.json == {
        "action": "enroll",
        "auto_enroll": False,
        "email_students": True,
        "courses": {
            course_id: {
                "action": "enroll",
                "auto_enroll": False,
                "results": [{"identifier": identifier, "before": OUT, "after": IN}],
            }
        },
    }
    assert answer.headers["content-type"] == "application/json"
    assert standing(gateway, user, course_id)["is_active"] is True
    assert invitation(gateway, course_id, email) is None


@pytest.mark.parametrize("auto_enroll", [True, False])
def test_an_email_that_nobody_has_becomes_an_invitation(gateway, auto_enroll):
    course_id, email = gateway.course(AUDIT, invite_only=True), addressed()
    invited = NOWHERE | {"allowed": True, "auto_enroll": auto_enroll}
    body = {"identifiers": email, "courses": course_id, "auto_enroll": auto_enroll}
    one = result(ask(gateway, **body), course_id)
    assert one == {"identifier": email, "before": NOWHERE, "after": invited}
    assert invitation(gateway, course_id, email).auto_enroll is auto_enroll
    assert result(ask(gateway, **body), course_id)["before"] == invited


def test_being_invited_again_keeps_what_the_invitation_says_beside(gateway):
    course_id, email, until = gateway.course(AUDIT), addressed(), ahead(days=3)
    kept = Invitation(course_id, email, expires_at=until)
    with gateway.sessions.begin() as session:
        invitations.save(session, kept, now=utc_now())
    ask(gateway, identifiers=email, courses=course_id, auto_enroll=True)
    assert invitation(gateway, course_id, email) == kept._replace(auto_enroll=True)


def test_who_has_not_activated_the_account_is_invited(gateway):
    course_id, email = gateway.course(AUDIT), addressed()
    user = gateway.person(email=email, is_active=False)
    for identifier in (user, email):
        one = result(ask(gateway, identifiers=identifier, courses=course_id), course_id)
        assert one["after"] == OUT | {"allowed": True}
    assert invitation(gateway, course_id, email) is not None
    assert gateway.get(f"enrollment/{user},{course_id}", gateway.admin).content == b""


def test_an_identifier_that_is_nobody_fails_no_other(gateway):
    user, course_id = gateway.person(), gateway.course(AUDIT)
    nameless = gateway.person(is_active=False)
    identifiers = f"percivaloctavius@\npercivaloctavius, {nameless} {user},,§§\r\n{user}"
    found = results(ask(gateway, identifiers=identifiers, courses=course_id), course_id)
    assert found == [
        {"identifier": "percivaloctavius@", "invalidIdentifier": True},
        {"identifier": "percivaloctavius", "invalidIdentifier": True},
        {"identifier": nameless, "invalidIdentifier": True},
        {"identifier": user, "before": OUT, "after": IN},
        {"identifier": "§§", "invalidIdentifier": True},
        {"identifier": user, "before": IN, "after": IN},
    ]


def test_a_username_that_looks_like_an_email_is_one_all_the_same(gateway):
    user, course_id = addressed(), gateway.course(AUDIT)
    gateway.call("PUT", f"learners/{user}", gateway.admin, json={})
    assert result(ask(gateway, identifiers=user, courses=course_id), course_id)["after"] == IN


@pytest.mark.parametrize("domain", ["@Example.org", "@", "@Uni"])
def test_usernames_compare_as_they_are_and_emails_in_lower_case(gateway, domain):
    user, course_id = fresh("Ann") + domain, gateway.course(AUDIT)
    gateway.call("PUT", f"learners/{user}", gateway.admin, json={})
    found = results(
        ask(gateway, identifiers=f"{user} {user.lower()}", courses=course_id), course_id
    )
    assert found[0] == {"identifier": user, "before": OUT, "after": IN}
    assert found[1].get("after") in (None, NOWHERE | {"allowed": True})
    assert standing(gateway, user, course_id)["is_active"] is True
    out = ask(gateway, action="unenroll", identifiers=user, courses=course_id)
    assert result(out, course_id) == {"identifier": user, "before": IN, "after": OUT}


def test_an_email_with_capitals_that_nobody_has_is_invited_in_lower_case(gateway):
    course_id, email = gateway.course(AUDIT), addressed()
    answer = ask(gateway, identifiers=email.upper(), courses=course_id)
    assert result(answer, course_id)["after"]["allowed"] is True
    assert invitation(gateway, course_id, email) is not None
    assert gateway.get(f"learners/{email.upper()}", gateway.admin).status_code == 404
    shown = gateway.get(answer.headers["location"] + "/outcomes", gateway.admin).json["outcomes"]
    assert shown[0]["user"] == email


def test_whose_email_it_is_goes_before_whose_name_it_is(gateway):
    email, course_id = f"{fresh('Ann')}@example.org", gateway.course(AUDIT)
    gateway.call("PUT", f"learners/{email}", gateway.admin, json={})
    owner = gateway.person(email=email.lower())
    assert result(ask(gateway, identifiers=email, courses=course_id), course_id)["after"] == IN
    assert standing(gateway, owner, course_id)["is_active"] is True


def test_window_and_invitation_are_passed_and_the_seats_never(gateway):
    closed = gateway.course(AUDIT, invite_only=True, enrollment_end=ago(days=1), capacity=1)
    ann, bob = gateway.person(), gateway.person()
    found = results(ask(gateway, identifiers=f"{ann} {bob}", courses=closed), closed)
    assert found[0]["after"] == IN
    assert found[1] == {
        "identifier": bob,
        "error": True,
        "reason": "course_full",
        "message": (
            "All seats are taken (capacity 1): raise the capacity, or wait for a free seat."
        ),
    }


def test_who_is_in_already_stays_in_the_mode_they_have(gateway):
    user, course_id = gateway.person(), gateway.course(AUDIT, VERIFIED)
    gateway.enroll(gateway.admin, course_id, user, mode="verified")
    one = result(ask(gateway, identifiers=user, courses=course_id), course_id)
    assert (one["before"], one["after"]) == (IN, IN)
    assert standing(gateway, user, course_id)["mode"] == "verified"


def test_a_course_that_is_not_known_takes_invitations_and_nobody_else(gateway):
    course_id, email = f"course-v1:Uni+{fresh('N')}+2026", addressed()
    found = results(
        ask(gateway, identifiers=f"{gateway.person()} {email}", courses=course_id), course_id
    )
    assert (found[0]["error"], found[0]["reason"]) == (True, "course_not_found")
    assert found[1]["after"]["allowed"] is True


def test_every_identifier_goes_into_every_course(gateway):
    one, two = gateway.course(AUDIT), gateway.course(AUDIT)
    people = [gateway.person(), gateway.person()]
    answer = ask(gateway, identifiers=",".join(people), courses=f"{one}, {two}")
    for course_id in (one, two):
        assert [it["identifier"] for it in results(answer, course_id)] == people
        assert all(standing(gateway, user, course_id)["is_active"] for user in people)


# --- out again ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "upper", "urlencoded", "multipart"])
def test_enrolling_and_unenrolling_by_email_in_every_media_type(gateway, kind):
    email, course_id = addressed(), gateway.course(AUDIT)
    user = gateway.person(email=email)
    for action, before, after in (("enroll", OUT, IN), ("unenroll", IN, OUT)):
        body = {
            "action": action,
            "identifiers": email,
            "courses": course_id,
            "email_students": "false",
        }
        content_type, sent = media_of(body)[kind]
        headers = {"Content-Type": content_type}
        answer = gateway.answered("POST", PATH, gateway.staff, body=sent, headers=headers)
        assert result(answer, course_id) == {"identifier": email, "before": before, "after": after}
        assert standing(gateway, user, course_id)["is_active"] is after["enrollment"]
    history = gateway.get(f"enrollment/{user},{course_id}/history", gateway.admin).json["events"]
    assert [event["type"] for event in history] == ["enrollment.created", "enrollment.deactivated"]


def test_unenrolling_takes_the_invitation_back_from_whoever_has_one(gateway):
    course_id, guest, email = gateway.course(AUDIT), addressed(), addressed()
    user = gateway.person(email=email)
    with gateway.sessions.begin() as session:
        for pair in ((course_id, guest), (course_id, email)):
            invitations.save(session, Invitation(*pair), now=utc_now())
    answer = ask(gateway, action="unenroll", identifiers=f"{guest},{user}", courses=course_id)
    for one in results(answer, course_id):
        assert (one["before"]["allowed"], one["after"]["allowed"]) == (True, False)
        assert one["after"]["enrollment"] is False
    assert invitation(gateway, course_id, guest) is None
    assert invitation(gateway, course_id, email) is None


def test_who_has_not_activated_the_account_can_be_unenrolled(gateway):
    user, course_id = gateway.person(), gateway.course(AUDIT)
    ask(gateway, identifiers=user, courses=course_id)
    gateway.call("PUT", f"learners/{user}", gateway.admin, json={"is_active": False})
    answer = ask(gateway, action="unenroll", identifiers=user, courses=course_id)
    assert result(answer, course_id)["after"] == OUT


# --- cohorts ------------------------------------------------------------------------------


def test_a_cohort_is_set_changed_and_kept(gateway):
    user, course_id = gateway.person(), gateway.course(AUDIT, cohorts=("A", "B"))
    for before, after in ((None, "A"), ("A", "B"), ("B", "B")):
        one = result(ask(gateway, identifiers=user, courses=course_id, cohorts=after), course_id)
        assert (one["before"]["cohort"], one["after"]["cohort"]) == (before, after)


def test_each_course_has_its_own_cohort(gateway):
    user = gateway.person()
    one, two = gateway.course(AUDIT, cohorts=("A",)), gateway.course(AUDIT, cohorts=("B",))
    answer = ask(gateway, identifiers=user, courses=f"{one},{two}", cohorts="A,B")
    assert [result(answer, it)["after"]["cohort"] for it in (one, two)] == ["A", "B"]


def test_a_cohort_that_the_course_does_not_have_is_400(gateway):
    course_id = gateway.course(AUDIT, cohorts=("A",))
    for unknown in (course_id, f"course-v1:Uni+{fresh('N')}+2026"):
        cohort = "Z" if unknown == course_id else "A"
        answer = gateway.post(
            PATH,
            gateway.admin,
            json={"action": "enroll", "identifiers": "ann", "courses": unknown, "cohorts": cohort},
        )
        assert answer.status_code == 400
        assert answer.json["non_field_errors"] == [
            f"cohort {cohort} not found in course {unknown}."
        ]


# --- the body -----------------------------------------------------------------------------


def test_courses_may_be_a_list_of_which_all_count(gateway):
    user, ids = gateway.person(), [gateway.course(AUDIT) for _ in range(3)]
    answer = ask(gateway, identifiers=user, courses=[ids[0], f"{ids[1]},{ids[2]}"])
    assert list(answer.json["courses"]) == ids


def test_what_the_body_lacks_is_400_in_upstream_s_words(small):
    answer = small.post(PATH, small.admin, json={})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    for name in ("identifiers", "action", "courses"):
        assert answer.json[name] == ["This field is required."]
    assert (answer.json["code"], answer.json["status"]) == ("invalid_body", 400)
    assert answer.json["message"] == answer.json["detail"]


def test_more_than_is_taken_at_once_is_413(small):
    answer = small.post(
        PATH,
        small.admin,
        json={
            "action": "enroll",
            "identifiers": " ".join(f"u{n}" for n in range(101)),
            "courses": ",".join(f"course-v1:Uni+C{n}+2026" for n in range(100)),
        },
    )
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert "/submissions" in answer.json["detail"]


@pytest.mark.parametrize("who", ["learner", "server"])
def test_only_staff_and_admins_may(small, who):
    headers = small.learner("ann") if who == "learner" else small.server
    assert small.post(PATH, headers, json={}).status_code == 403


@pytest.mark.parametrize("path", [PATH + "/", PATH])
def test_it_is_found_with_and_without_a_slash(small, path):
    assert small.post(path, small.admin, json={}).status_code == 400


# --- the same machinery -------------------------------------------------------------------


def test_it_is_a_submission_in_the_interactive_lane_with_outcomes_of_its_own(gateway):
    course_id, user, email = gateway.course(AUDIT), gateway.person(), addressed()
    answer = ask(
        gateway,
        identifiers=f"{user},{email}",
        courses=course_id,
        auto_enroll=True,
        reason="term start",
    )
    shown = gateway.get(answer.headers["location"], gateway.admin).json
    assert (shown["kind"], shown["state"], shown["result"]) == ("bulk", "done", "succeeded")
    assert shown["options"]["auto_enroll"] is True
    assert shown["options"]["reason"] == "term start"
    assert (shown["counts"]["enrolled"], shown["counts"]["unchanged"]) == (1, 1)
    outcomes = gateway.get(shown["links"]["outcomes"], gateway.admin).json["outcomes"]
    assert [(one["line"], one["user"]) for one in outcomes] == [(1, user), (2, email)]
    assert outcomes[1]["after"]["allowed"] is True


def test_who_will_not_wait_or_waits_in_vain_is_answered_202(small):
    course_id = small.course(AUDIT)
    body = {"action": "enroll", "identifiers": addressed(), "courses": course_id}
    for prefer in ("respond-async", "wait=0", "wait=1"):
        answer = small.post(PATH, small.admin, json=body, headers={"Prefer": prefer})
        assert (answer.status_code, answer.json["state"]) == (202, "queued")
        assert answer.headers["preference-applied"] == prefer
        assert answer.headers["location"].endswith(answer.json["submission_id"])
        assert answer.headers["retry-after"]
    small.work()


def test_the_same_key_is_the_same_list_and_another_body_is_422(gateway):
    course_id, user = gateway.course(AUDIT), gateway.person()
    key = {"Idempotency-Key": fresh("key")}
    first = ask(gateway, identifiers=user, courses=course_id, headers=key)
    again = ask(gateway, identifiers=user, courses=course_id, headers=key)
    assert first.json == again.json
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    for other in ({"email_students": True}, {"auto_enroll": True}, {"reason": "x"}):
        answer = gateway.post(
            PATH,
            gateway.admin,
            json={"action": "enroll", "identifiers": user, "courses": course_id, **other},
            headers=key,
        )
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")


def test_a_list_sent_again_is_answered_as_before_when_its_cohort_is_gone(gateway):
    course_id, user = gateway.course(AUDIT, cohorts=("A",)), gateway.person()
    body = {"identifiers": user, "courses": course_id, "cohorts": "A"}
    key = {"Idempotency-Key": fresh("key")}
    first = ask(gateway, headers=key, **body)
    gateway.call("PATCH", f"courses/{course_id}", gateway.admin, json={"cohorts": []})
    again = ask(gateway, headers=key, **body)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json == first.json
    asked = {"action": "enroll", **body}
    other = gateway.post(PATH, gateway.admin, json=asked | {"reason": "x"}, headers=key)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    for headers in ({}, {"Idempotency-Key": fresh("key")}):
        assert gateway.post(PATH, gateway.admin, json=asked, headers=headers).status_code == 400


def test_a_list_of_many_batches_is_answered_whole(database_url):
    gateway = Gateway(database_url, batch_rows="2")
    course_id = gateway.course(AUDIT)
    emails = [addressed() for _ in range(7)]
    answer = ask(gateway, identifiers="\n".join([*emails, emails[0]]), courses=course_id)
    found = results(answer, course_id)
    assert [one["identifier"] for one in found] == [*emails, emails[0]]
    assert [one["before"]["allowed"] for one in found] == [False] * 7 + [True]
    gateway.close()


def test_what_was_cancelled_meanwhile_is_an_error_of_each(small):
    course_id, email = small.course(AUDIT), addressed()
    body = {"action": "enroll", "identifiers": email, "courses": course_id}
    key = {"Idempotency-Key": fresh("key")}
    prefer = {"Prefer": "respond-async"}
    place = small.post(PATH, small.admin, json=body, headers=key | prefer).headers["location"]
    small.post(f"{place}/cancel", small.admin)
    answer = ask(small, identifiers=email, courses=course_id, headers=key)
    assert result(answer, course_id) == {"identifier": email, "error": True, "reason": "cancelled"}
