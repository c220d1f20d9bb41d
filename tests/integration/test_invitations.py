"""Invitations in the records."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from falcon import testing

from api_gateway.database import Database
from api_gateway.resources.invitations import InvitationResource
from enrollment.domain.codes import Lane
from enrollment.domain.errors import Conflict, InvitationNotFound
from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from tests.support.breakpoints import Breakpoint, Side
from tests.support.small_gateway import app_with_errors

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=1)
ALGEBRA, BOTANY = "course-v1:Uni+ALG+1", "Uni/BOT/1"
ADA = "ada@example.org"


def save(sessions, *many, now=NOON):
    with sessions.begin() as session:
        for invitation in many:
            invitations.save(session, invitation, now=now)


def found(sessions, course_id=ALGEBRA, email=ADA):
    with sessions.read() as session:
        return invitations.find(session, course_id, email)


def use(sessions, used):
    with sessions.begin() as session:
        invitations.mark_used(session, used)


@pytest.mark.parametrize(
    "invitation",
    [
        Invitation(ALGEBRA, ADA),
        Invitation(BOTANY, ADA, expires_at=NOON, auto_enroll=True),
        Invitation(BOTANY, ADA, used_by="ada"),
    ],
)
def test_an_invitation_comes_back_as_saved(sessions, invitation):
    save(sessions, invitation)

    assert found(sessions, invitation.course_id) == invitation


def test_case_does_not_matter_in_the_email(sessions):
    save(sessions, Invitation(ALGEBRA, "Ada@Example.org"))

    assert found(sessions, email="ADA@example.org") == Invitation(ALGEBRA, ADA)


def test_an_invitation_that_was_used_stays_used_when_changed(sessions):
    save(sessions, Invitation(ALGEBRA, ADA))
    use(sessions, {(ALGEBRA, ADA): "ada"})

    save(sessions, Invitation(ALGEBRA, ADA, expires_at=NOON, auto_enroll=True))

    assert found(sessions) == Invitation(ALGEBRA, ADA, NOON, auto_enroll=True, used_by="ada")


def test_invitations_of_an_email_come_oldest_first_with_their_age(sessions):
    save(sessions, Invitation(BOTANY, ADA), now=NOON)
    save(sessions, Invitation(ALGEBRA, ADA), now=NOON + timedelta(hours=1))
    save(sessions, Invitation(ALGEBRA, "eve@example.org"))

    with sessions.read() as session:
        kept = invitations.find_by_email(session, ADA.upper())

    assert kept == [
        (Invitation(BOTANY, ADA), NOON),
        (Invitation(ALGEBRA, ADA), NOON + timedelta(hours=1)),
    ]


def test_an_invitation_is_taken_back_once(sessions):
    save(sessions, Invitation(ALGEBRA, ADA), Invitation(BOTANY, ADA))

    with sessions.begin() as session:
        invitations.delete(session, ALGEBRA, ADA.upper())

    assert found(sessions) is None
    assert found(sessions, BOTANY) is not None
    with pytest.raises(InvitationNotFound), sessions.begin() as session:
        invitations.delete(session, ALGEBRA, ADA)


def test_a_thousand_invitations_are_loaded_and_used_in_one_statement_each(sessions, statements):
    many = {(ALGEBRA, f"u{number}@example.org"): f"u{number}" for number in range(1_000)}
    save(sessions, *(Invitation(*pair) for pair in many))
    statements.clear()

    with sessions.begin() as session:
        standing = invitations.find_many(session, [*many, (BOTANY, ADA)])
        invitations.mark_used(session, many)

    assert standing == {pair: Invitation(*pair) for pair in many}
    assert len(statements) == 2
    assert found(sessions, email="u7@example.org").used_by == "u7"


def test_nothing_is_loaded_or_used_where_nothing_is_asked(sessions):
    with sessions.begin() as session:
        assert invitations.find_many(session, []) == {}
        invitations.mark_used(session, {})


@pytest.mark.parametrize(("used_by", "fits"), [(None, True), ("ada", True), ("eve", False)])
def test_an_invitation_serves_one_learner(sessions, used_by, fits):
    save(sessions, Invitation(ALGEBRA, ADA, used_by=used_by), Invitation(BOTANY, ADA))
    used = {(ALGEBRA, ADA): "ada", (BOTANY, ADA): "ada"}

    if fits:
        use(sessions, used)
    else:
        with pytest.raises(Conflict):
            use(sessions, used)

    assert found(sessions, BOTANY).used_by == ("ada" if fits else None)


def test_an_invitation_taken_back_since_it_was_loaded_cannot_be_used(sessions):
    with pytest.raises(Conflict):
        use(sessions, {(ALGEBRA, ADA): "ada"})


# --- of a bulk enrollment ---------------------------------------------------------------------


def invite(sessions, *, new=(), known=(), auto_enroll=True):
    with sessions.begin() as session:
        invitations.save_auto_enroll(session, new, known, auto_enroll=auto_enroll, now=NOON)


def test_a_list_inserts_what_was_not_there_and_sets_auto_enroll_alone_elsewhere(sessions):
    save(sessions, Invitation(BOTANY, ADA, expires_at=NOON))
    use(sessions, {(BOTANY, ADA): "ada"})

    invite(sessions, new={(ALGEBRA, ADA)}, known={(BOTANY, ADA)})

    assert found(sessions) == Invitation(ALGEBRA, ADA, auto_enroll=True)
    assert found(sessions, BOTANY) == Invitation(BOTANY, ADA, NOON, auto_enroll=True, used_by="ada")


def test_a_list_does_not_overwrite_what_was_inserted_since_it_read(sessions):
    save(sessions, Invitation(ALGEBRA, ADA, expires_at=NOON))

    with pytest.raises(Conflict):
        invite(sessions, new={(ALGEBRA, ADA)})

    assert found(sessions) == Invitation(ALGEBRA, ADA, NOON)


def test_a_list_does_not_restore_what_was_deleted_since_it_read(sessions):
    with pytest.raises(Conflict):
        invite(sessions, known={(ALGEBRA, ADA)})

    assert found(sessions) is None


@pytest.fixture
def invited(postgres_world):
    """An invitation, and a list that invites the same again; transactions overlap."""
    postgres_world.course(ALGEBRA)
    save(postgres_world.sessions, Invitation(ALGEBRA, ADA, expires_at=NOON))
    row = json.dumps({"email": ADA, "course_id": ALGEBRA, "force_enrollment": True})
    postgres_world.send(
        row.encode(), media_type="application/x-ndjson", lane=Lane.INTERACTIVE, auto_enroll=True
    )
    return postgres_world


def test_a_put_between_reading_and_writing_of_a_list_stays(invited):
    with Breakpoint(invited.sessions, "UPDATE invitation") as writes:
        worker = Side(invited.work)
        writes.until_reached()
        save(invited.sessions, Invitation(ALGEBRA, ADA, expires_at=LATER))
        writes.go_on()
        worker.join()

    assert found(invited.sessions) == Invitation(ALGEBRA, ADA, LATER, auto_enroll=True)


def test_a_delete_between_reading_and_writing_of_a_list_makes_it_read_again(invited):
    with Breakpoint(invited.sessions, "UPDATE invitation") as writes:
        worker = Side(invited.work)
        writes.until_reached()
        with invited.sessions.begin() as session:
            invitations.delete(session, ALGEBRA, ADA)
        writes.go_on()
        worker.join()

    assert found(invited.sessions) == Invitation(ALGEBRA, ADA, auto_enroll=True)


# --- over HTTP --------------------------------------------------------------------------------


@pytest.fixture
def http(sessions):
    records = Database(sessions, threads=2)
    app = app_with_errors()
    app.add_route("/invitations/{rest:path}", InvitationResource(records, now=lambda: NOON))
    yield testing.TestClient(app)
    records._pool.shutdown(wait=True)


@pytest.mark.parametrize("course_id", [ALGEBRA, BOTANY, "Uni%2FBOT%2F1"])
def test_a_put_makes_an_invitation_and_then_changes_it(http, course_id):
    path = f"/invitations/{course_id}/Ada%40Example.org"
    made = http.simulate_put(path)
    assert made.status_code == 201
    assert made.json == http.simulate_get(path).json
    assert made.json["course_id"] == course_id.replace("%2F", "/")

    again = http.simulate_put(
        path, json={"expires_at": "2026-09-01T12:00:00Z", "auto_enroll": True}
    )

    assert again.status_code == 200
    assert again.json == {
        "course_id": course_id.replace("%2F", "/"), "email": ADA,
        "expires_at": "2026-09-01T12:00:00Z", "auto_enroll": True, "used_by": None,
    }  # fmt: skip


def test_who_used_an_invitation_is_shown(sessions, http):
    http.simulate_put(f"/invitations/{ALGEBRA}/{ADA}")
    use(sessions, {(ALGEBRA, ADA): "ada"})

    assert http.simulate_put(f"/invitations/{ALGEBRA}/{ADA}", json={}).json["used_by"] == "ada"
    assert http.simulate_get(f"/invitations/{ALGEBRA}/{ADA}").json["used_by"] == "ada"


def test_an_invitation_is_deleted_and_then_unknown(http):
    path = f"/invitations/{ALGEBRA}/{ADA}"
    http.simulate_put(path)

    assert http.simulate_delete(path).status_code == 204
    assert http.simulate_get(path).status_code == 404
    assert http.simulate_delete(path).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (f"algebra/{ADA}", "invalid_course_id"),
        (ADA, "invalid_course_id"),
        (f"{ALGEBRA}/ada", "invalid_email"),
        (f"{ALGEBRA}/", "invalid_email"),
        (ALGEBRA, "invalid_email"),
    ],
)
def test_an_address_that_names_no_invitation_is_400(http, method, rest, code):
    response = http.simulate_request(method, f"/invitations/{rest}")

    assert (response.status_code, response.json["code"]) == (400, code)


def test_a_bad_invitation_is_refused_with_field_and_rule(http):
    response = http.simulate_put(f"/invitations/{ALGEBRA}/{ADA}", json={"used_by": "eve"})

    assert response.status_code == 400
    assert [(bad["field"], bad["rule"]) for bad in response.json["errors"]] == [
        ("used_by", "unknown")
    ]


def test_an_address_may_have_slashes_behind_the_course(http):
    for course_id in (ALGEBRA, BOTANY):
        path = f"/invitations/{course_id}/a/b@example.org"
        assert http.simulate_put(path, json={}).json["email"] == "a/b@example.org"


def test_an_invisible_character_in_an_address_is_named(http):
    response = http.simulate_put(f"/invitations/{ALGEBRA}/ada%E2%80%8B@example.org", json={})

    assert (response.status_code, response.json["code"]) == (400, "invalid_email")
    assert response.json["errors"][0]["rule"] == "invisible_character"


def test_an_address_is_found_composed_or_not(http):
    http.simulate_put(f"/invitations/{ALGEBRA}/ju%CC%88rgen@example.org", json={})

    found = http.simulate_get(f"/invitations/{ALGEBRA}/j%C3%BCrgen@EXAMPLE.org")
    assert found.json["email"] == "j\xfcrgen@example.org"
