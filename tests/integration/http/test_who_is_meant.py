"""Who a request is about, over HTTP: pasted addresses, tokens, clocks, members of learners."""

import csv
import io
from datetime import timedelta

import jwt
import pytest

from enrollment.storage import invitations, learners
from tests.support.gateway import AUDIT, SIGNING_KEY, fresh, utc_now


def token(**claims):
    """A token of ours with claims that `sign_token` would not sign."""
    now = int(utc_now().timestamp())
    usual = {"iss": "enroll", "aud": "enroll", "iat": now, "exp": now + 600}
    signed = jwt.encode(
        usual | claims, SIGNING_KEY.secret, algorithm="HS256", headers={"kid": SIGNING_KEY.kid}
    )
    return {"Authorization": f"JWT {signed}"}


def invitation(gateway, course_id, email):
    with gateway.sessions.read() as session:
        return invitations.find(session, course_id, email)


@pytest.mark.parametrize(
    "form",
    ["{}\u200b", "\u2066{}", "{}.", ".{}", "'{}'", "x\xad{}"],
)
def test_a_pasted_address_is_an_invalid_identifier_and_never_an_invitation(gateway, form):
    course_id, email = gateway.course(AUDIT), f"{fresh('cleo')}@example.org"
    gateway.person(email=email)
    body = {"identifiers": form.format(email), "courses": course_id, "action": "enroll"}

    answer = gateway.answered("POST", "/api/bulk_enroll/v1/bulk_enroll", gateway.staff, json=body)

    assert answer.json["courses"][course_id]["results"] == [
        {"identifier": form.format(email), "invalidIdentifier": True}
    ]
    assert invitation(gateway, course_id, form.format(email)) is None


def test_words_for_no_value_enroll_nobody(gateway):
    course_id = gateway.course(AUDIT)
    rows = "".join(
        f"{n},{word},{course_id}\n" for n, word in enumerate(["NULL", "null", "(null)", "\\N"])
    )

    status = gateway.submit("student_no,user,course_id\n" + rows)

    assert (status.json["result"], status.json["learners_created"]) == ("failed", 0)
    listed = gateway.get(
        status.json["links"]["outcomes"], gateway.admin, headers={"Accept": "text/csv"}
    )
    assert [
        row["outcome"] for row in csv.DictReader(io.StringIO(listed.text.lstrip("\ufeff")))
    ] == (["invalid"] * 4)


def test_moodle_lowers_usernames(gateway):
    source, course_id, word = fresh("source"), gateway.course(AUDIT), fresh("t")
    entries = [{"kind": "course", "theirs": "MATH-101", "ours": course_id}]
    gateway.call("PUT", f"crosswalks/{source}", gateway.admin, json=entries)
    rows = "".join(f"{user}{word},O,L,oda{word}@example.org,MATH-101\n" for user in ("Oda", "oda"))

    status = gateway.submit(
        "username,firstname,lastname,email,course1\n" + rows, params={"source": source}
    )

    assert (status.json["counts"]["enrolled"], status.json["counts"]["unchanged"]) == (1, 1)
    assert gateway.get(f"learners/oda{word}", gateway.admin).status_code == 200


def test_a_decomposed_address_is_the_learner_with_the_composed_one(gateway):
    course_id, word = gateway.course(AUDIT), fresh("t")
    gateway.person(email=f"j\xfcrgen{word}@example.org")

    status = gateway.submit(f"email,course_id\nju\u0308rgen{word}@example.org,{course_id}\n")

    assert status.json["counts"]["enrolled"] == 1


def test_a_row_that_names_two_people_enrolls_neither(gateway):
    course_id, email = gateway.course(AUDIT), f"{fresh('vera')}@example.org"
    uma = gateway.person()
    gateway.person(email=email)

    status = gateway.submit(f"user,email,course_id\n{uma},{email},{course_id}\n")

    assert status.json["counts"]["invalid"] == 1


# --- clocks -------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["respond-async", "wait=20"])
@pytest.mark.parametrize("seconds", [3, 30])
def test_a_sender_s_clock_may_be_five_seconds_ahead(gateway, wait, seconds):
    course_id, user = gateway.course(AUDIT), fresh("ada")
    stated = (utc_now() + timedelta(seconds=seconds)).isoformat()

    answer = gateway.enroll(
        gateway.admin, course_id, user, requested_at=stated, headers={"Prefer": wait}
    )

    if seconds == 3:
        assert answer.status_code == (200 if wait == "wait=20" else 202)
        return
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_row")
    assert [(one["pointer"], one["rule"]) for one in answer.json["errors"]] == [
        ("/requested_at", "in_the_future")
    ]


# --- tokens -------------------------------------------------------------------------------


def test_a_kelvin_sign_does_not_use_the_invitation_of_kevin(gateway):
    course_id, word = gateway.course(AUDIT, invite_only=True), fresh("t")
    kevin = f"kevin{word}@example.org"
    gateway.call("PUT", f"invitations/{course_id}/{kevin}", gateway.admin)
    mallory = fresh("mallory")

    answer = gateway.enroll(token(sub=mallory, email=f"\u212aevin{word}@example.org"), course_id)

    assert (answer.status_code, answer.json["code"]) == (400, "invite_required")
    assert invitation(gateway, course_id, kevin).used_by is None
    learner = gateway.get(f"learners/{mallory}", gateway.admin).json
    assert learner["email"] == f"\u212aevin{word}@example.org"


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 200),
        ({"email_verified": True}, 200),
        ({"email_verified": "true"}, 200),
        ({"email_verified": "false"}, 400),
        ({"email_verified": False}, 400),
        ({"email_verified": "yes"}, 400),
    ],
)
def test_only_a_verified_address_opens_an_invitation(gateway, claims, status):
    course_id, email = gateway.course(AUDIT, invite_only=True), f"{fresh('ada')}@example.org"
    gateway.call("PUT", f"invitations/{course_id}/{email}", gateway.admin)

    answer = gateway.enroll(token(sub=fresh("ada"), email=email, **claims), course_id)

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "claims", [{"sub": "a\u200bda"}, {"sub": "ada", "email": "a\u202eda@x.org"}]
)
def test_an_invisible_character_in_a_claim_is_401_with_a_sentence(small, claims):
    answer = small.get("enrollment", token(**claims))

    assert answer.status_code == 401
    assert "has a character that is invisible" in answer.json["detail"]


@pytest.mark.parametrize("more", [{}, {"email": "x"}])
def test_where_learners_must_be_known_a_token_makes_none(start, more):
    strict = start(unknown_learners="refuse")
    course_id, user = strict.course(AUDIT), fresh("ada")
    email = f"{user}@example.org"
    who = token(sub=user, **({"email": email} if more else {}))

    first = strict.post("enrollment", who, json={"course_details": {"course_id": course_id}})
    assert first.status_code == 202
    with strict.sessions.read() as session:
        assert learners.find(session, user) is None

    strict.call("PUT", f"learners/{user}", strict.admin, json={})
    assert strict.enroll(who, course_id).status_code == 200
    with strict.sessions.read() as session:
        assert learners.find(session, user).email == (email if more else None)


# --- members that learners may not set ----------------------------------------------------


def test_a_learner_sets_neither_cohort_nor_attributes(gateway):
    course_id, user = gateway.course(AUDIT, cohorts=("red",)), fresh("ada")
    attributes = [{"namespace": "order", "name": "order_number", "value": "7"}]

    answer = gateway.enroll(
        gateway.learner(user), course_id, cohort="red", enrollment_attributes=attributes
    )

    assert answer.status_code == 200
    path = f"enrollment/{user},{course_id}/history"
    (event,) = gateway.get(path, gateway.admin).json["events"]
    assert event["data"]["after"].get("cohort") is None
    assert not event["data"]["after"].get("attributes")


def test_the_name_in_a_body_may_be_decomposed(gateway):
    course_id, word = gateway.course(AUDIT), fresh("t")
    who = gateway.learner(f"Zo\xeb{word}")

    answer = gateway.enroll(who, course_id, f"Zoe\u0308{word}")

    assert (answer.status_code, answer.json["user"]) == (200, f"Zo\xeb{word}")
    for path in (f"Zoe%CC%88{word},{course_id}", f"Zo%C3%AB{word},{course_id}"):
        assert gateway.get(f"enrollment/{path}", who).json["user"] == f"Zo\xeb{word}"
    listed = gateway.get("enrollments", gateway.admin, params={"username": f"Zoe\u0308{word}"})
    assert [one["user"] for one in listed.json["results"]] == [f"Zo\xeb{word}"]
    assert len(gateway.get("enrollment", who, params={"user": f"Zoe\u0308{word}"}).json) == 1
