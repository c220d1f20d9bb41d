"""Learners in the records."""

import json
from datetime import UTC, datetime

import pytest
from falcon import testing

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.resources.learners import LearnerResource, LearnersResource
from enrollment.domain.codes import CallerKind, CourseRole
from enrollment.domain.errors import Conflict, EmailTaken, LearnerInUse, LearnerNotFound
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.people import course_roles, opt_ins
from enrollment.storage.tables import EnrollmentRow
from tests.support.context_managers import at_once
from tests.support.small_gateway import app_with_errors

ADA = Learner("ada", "ada@example.org", is_active=False, is_staff=True)
BOB = Learner("bob o'neill@x", None)


def save(sessions, *many):
    with sessions.begin() as session:
        learners.save_all(session, many)


def found(sessions, username):
    with sessions.read() as session:
        return learners.find(session, username)


@pytest.mark.parametrize(
    "learner", [ADA, BOB, Learner("Zoë +._-", "z@example.org"), Learner("ira", is_retiring=True)]
)
def test_a_learner_comes_back_as_saved(sessions, learner):
    with sessions.begin() as session:
        learners.save(session, learner)

    assert found(sessions, learner.username) == learner


def test_an_unknown_learner_is_not_found(sessions):
    assert found(sessions, "ada") is None


def test_usernames_differ_by_case_and_emails_do_not(sessions):
    save(sessions, Learner("ada", "Ada@Example.ORG"))

    assert found(sessions, "Ada") is None
    assert found(sessions, "ada").email == "ada@example.org"
    with pytest.raises(EmailTaken):
        save(sessions, Learner("eve", "ADA@example.org"))


def test_a_taken_email_is_named_and_nobody_is_saved(sessions):
    save(sessions, ADA)

    with pytest.raises(EmailTaken, match=r"ada@example\.org"):
        save(sessions, BOB, Learner("eve", "ada@example.org"))

    assert found(sessions, BOB.username) is None


def test_two_newcomers_cannot_have_one_email(sessions):
    with pytest.raises(EmailTaken):
        save(sessions, Learner("ada", "a@example.org"), Learner("bob", "A@example.org"))


def test_saving_again_replaces_the_learner_and_keeps_the_row(sessions):
    save(sessions, ADA)
    with sessions.read() as session:
        row_id = learners.find_many(session, ["ada"])["ada"].id

    save(sessions, Learner("ada"), Learner("ada", "new@example.org"))

    with sessions.read() as session:
        assert learners.find_many(session, ["ada"])["ada"] == (
            row_id,
            Learner("ada", "new@example.org"),
        )


def test_an_email_can_be_saved_again_and_given_away(sessions):
    save(sessions, ADA)

    save(sessions, ADA)
    save(sessions, ADA._replace(email=None), Learner("eve", ADA.email))

    assert found(sessions, "ada").email is None
    assert found(sessions, "eve").email == ADA.email


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "emails",
    [
        pytest.param({"amy": "zed@x.org", "zed": "amy@x.org"}, id="swap"),
        pytest.param({"amy": "new@x.org", "zed": "amy@x.org"}, id="give-to-a-later-one"),
        pytest.param({"zed": "new@x.org", "amy": "zed@x.org"}, id="give-to-an-earlier-one"),
        pytest.param({"amy": "bob@x.org", "bob": "zed@x.org", "zed": "amy@x.org"}, id="circle"),
        pytest.param({"amy": None, "eve": "amy@x.org", "zed": "zed@x.org"}, id="to-a-newcomer"),
    ],
)
def test_learners_saved_together_may_take_over_each_others_emails(sessions, emails, turned):
    save(sessions, *(Learner(name, f"{name}@x.org") for name in ("amy", "bob", "zed")))
    many = [Learner(*item) for item in emails.items()]

    save(sessions, *(reversed(many) if turned else many))

    assert {name: found(sessions, name).email for name in emails} == emails


def test_an_email_that_two_would_have_after_a_swap_is_refused_and_nobody_is_changed(sessions):
    save(sessions, Learner("amy", "amy@x.org"), Learner("zed", "zed@x.org"))

    with pytest.raises(EmailTaken):
        save(sessions, Learner("amy", "zed@x.org"), Learner("zed", "zed@x.org"))

    assert found(sessions, "amy").email == "amy@x.org"


def test_saving_nobody_does_nothing(sessions):
    save(sessions)

    with sessions.begin() as session:
        assert at_once(learners.insert_new(session, [])) == {}


def test_learners_are_found_by_name_and_by_email_in_one_statement_each(sessions, statements):
    many = [Learner(f"user{number:05}", f"user{number}@example.org") for number in range(10_000)]
    save(sessions, *many)
    statements.clear()

    with sessions.read() as session:
        known = learners.find_many(session, [learner.username for learner in many] + ["nobody"])
        by_email = learners.find_by_email(
            session, [learner.email for learner in many] + ["no@body"]
        )

    assert [known[learner.username].learner for learner in many] == many
    assert [by_email[learner.email].learner for learner in many] == many
    assert len(known) == len(by_email) == 10_000
    assert len(statements) == 2


def test_newcomers_are_registered(sessions):
    with sessions.begin() as session:
        rows = at_once(learners.insert_new(session, ["zoe", "bob", "zoe"]))

    assert found(sessions, "zoe") == Learner("zoe")
    with sessions.read() as session:
        known = learners.find_many(session, ["bob", "zoe"])
    assert rows == {username: each.id for username, each in known.items()}


def test_who_was_registered_meanwhile_is_a_conflict(sessions):
    save(sessions, ADA)

    with pytest.raises(Conflict), sessions.begin() as session:
        at_once(learners.insert_new(session, ["zoe", "ada"]))

    assert found(sessions, "ada") == ADA
    assert found(sessions, "zoe") is None


def test_registering_many_takes_one_statement(sessions, statements):
    with sessions.begin() as session:
        at_once(learners.insert_new(session, [f"other{number}" for number in range(2_000)]))

    assert len(statements) == 1


def test_a_learner_who_was_never_enrolled_is_deleted(sessions):
    save(sessions, ADA)

    with sessions.begin() as session:
        learners.delete(session, "ada")

    assert found(sessions, "ada") is None
    with pytest.raises(LearnerNotFound), sessions.begin() as session:
        learners.delete(session, "ada")


def test_a_learner_with_enrollments_stays(sessions):
    save(sessions, ADA)
    with sessions.begin() as session:
        session.add(
            EnrollmentRow(
                learner_id=learners.find_many(session, ["ada"])["ada"].id, course_id=1, mode="audit",
                is_active=True, created=datetime(2026, 1, 1, tzinfo=UTC), version=1, event_id=1,
                active_at=1, active_rank=1, active_line=1,
            )
        )  # fmt: skip

    with pytest.raises(LearnerInUse), sessions.begin() as session:
        learners.delete(session, "ada")


# --- over HTTP --------------------------------------------------------------------------------


class AsReader:
    """Lets every request be one of a key that reads about everybody."""

    async def process_request(self, req, resp):
        req.context.caller = Caller("key:reader", CallerKind.SERVER, frozenset({"read"}))


@pytest.fixture
def http(sessions):
    records = Database(sessions, threads=2)
    app = app_with_errors()
    app.add_middleware(AsReader())
    app.add_route("/learners/{username}", LearnerResource(records))
    app.add_route("/learners", LearnersResource(records))
    yield testing.TestClient(app)
    records._pool.shutdown(wait=True)


def test_a_put_makes_a_learner_and_then_replaces_it(http):
    made = http.simulate_put("/learners/ada", json={"email": "Ada@example.org", "is_staff": True})
    assert made.status_code == 201
    assert made.json == http.simulate_get("/learners/ada").json
    assert made.json == {
        "username": "ada",
        "email": "ada@example.org",
        "is_active": True,
        "is_staff": True,
        "retiring": False,
        "email_opt_in": {},
    }

    again = http.simulate_put("/learners/ada", json={"is_active": False})

    assert again.status_code == 200
    assert again.json == {
        "username": "ada",
        "email": None,
        "is_active": False,
        "is_staff": False,
        "retiring": False,
        "email_opt_in": {},
    }


def test_what_a_learner_stated_about_email_is_shown_and_never_set(http, sessions):
    with sessions.begin() as session:
        opt_ins.set_many(session, {("ada", "Uni"): True, ("ada", "Art"): False, ("bob", "X"): True})
    made = http.simulate_put("/learners/ada", json={"email_opt_in": {"Uni": False}})

    assert made.json["email_opt_in"] == {"Art": False, "Uni": True}
    assert http.simulate_get("/learners/ada").json == made.json
    assert http.simulate_put("/learners/ada", json=made.json).json == made.json


def test_opt_ins_are_deleted_with_their_learner(http, sessions):
    save(sessions, Learner("ada"), Learner("bob"))
    with sessions.begin() as session:
        opt_ins.set_many(session, {("ada", "Uni"): True, ("bob", "Uni"): True})
    assert http.simulate_delete("/learners/ada").status_code == 204

    assert http.simulate_put("/learners/ada", json={}).json["email_opt_in"] == {}
    assert http.simulate_get("/learners/bob").json["email_opt_in"] == {"Uni": True}


def test_another_learner_of_the_name_does_not_inherit_a_role(sessions):
    save(sessions, Learner("ada"), Learner("bob"))
    course_id, now = "course-v1:Uni+ALG+2026", datetime(2026, 9, 1, tzinfo=UTC)
    with sessions.begin() as session:
        for name in ("ada", "bob"):
            course_roles.replace(session, name, course_id, CourseRole.STAFF, now=now)
        learners.delete(session, "ada")

    with sessions.read() as session:
        assert course_roles.find(session, "ada") == []
        assert course_roles.find_one(session, "bob", course_id) == "staff"


def test_a_name_with_a_space_is_a_name(http):
    assert http.simulate_put("/learners/ada%20lovelace", json={}).json["username"] == "ada lovelace"


def test_a_learner_is_deleted_and_then_unknown(http):
    http.simulate_put("/learners/ada", json={})

    assert http.simulate_delete("/learners/ada").status_code == 204
    assert http.simulate_get("/learners/ada").status_code == 404
    assert http.simulate_delete("/learners/ada").status_code == 404


def test_a_name_is_the_same_composed_or_not(http):
    made = http.simulate_put("/learners/Zoe%CC%88", json={"username": "Zo\xeb"})

    assert made.json["username"] == "Zo\xeb"
    for path in ("/learners/Zo%C3%AB", "/learners/Zoe%CC%88"):
        assert http.simulate_get(path).json == made.json


def test_an_invisible_character_in_a_name_is_named(http):
    response = http.simulate_put("/learners/a%E2%80%8Bda", json={})

    assert (response.status_code, response.json["code"]) == (400, "invalid_username")
    assert response.json["errors"][0]["rule"] == "invisible_character"


def test_an_email_that_another_has_is_a_conflict(http):
    http.simulate_put("/learners/ada", json={"email": "a@example.org"})

    assert http.simulate_put("/learners/eve", json={"email": "A@example.org"}).status_code == 409


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_address_that_names_no_username_is_400(http, method):
    body = {"json": {}} if method == "PUT" else {}
    response = http.simulate_request(method, "/learners/a%2Cb", **body)

    assert (response.status_code, response.json["code"]) == (400, "invalid_username")


def test_a_bad_learner_is_refused_with_field_and_rule(http):
    response = http.simulate_put("/learners/ada", json={"email": "nobody"})

    assert response.status_code == 400
    assert response.json["errors"] == [
        {
            "pointer": "/email",
            "field": "email",
            "value": "nobody",
            "rule": "email",
            "message": (
                "email: 'nobody' is not an e-mail address: write one such as ada@example.org."
            ),
        }
    ]


def test_many_learners_are_saved_all_or_none(http):
    good = [{"username": "ada"}, {"username": "bob", "email": "b@example.org"}]
    bad = [*good, {"username": "a,b"}]

    assert http.simulate_post("/learners", json={"learners": bad}).status_code == 400
    assert http.simulate_get("/learners/ada").status_code == 404
    response = http.simulate_post(
        "/learners",
        body="\n".join(map(json.dumps, good)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert (response.status_code, response.json) == (200, {"saved": 2})
    assert http.simulate_get("/learners/bob").json["email"] == "b@example.org"
