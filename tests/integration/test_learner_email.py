"""A token's e-mail is kept, so that an invitation finds its learner."""

from enrollment.domain.model import Learner
from enrollment.storage import learners
from tests.support.context_managers import at_once


def test_the_email_of_a_token_is_kept_for_a_stranger(sessions):
    with sessions.begin() as session:
        learners.set_email_if_missing(session, "ada", "Ada@Example.org")

    with sessions.read() as session:
        assert learners.find(session, "ada") == Learner("ada", "ada@example.org")


def test_a_learner_without_an_email_gets_the_one_of_the_token(sessions):
    with sessions.begin() as session:
        at_once(learners.insert_new(session, ["ada"]))
        learners.set_email_if_missing(session, "ada", "ada@example.org")

    with sessions.read() as session:
        assert learners.find(session, "ada") == Learner("ada", "ada@example.org")


def test_an_email_that_is_kept_stays(sessions):
    with sessions.begin() as session:
        learners.save(session, Learner("ada", "first@example.org"))
        learners.set_email_if_missing(session, "ada", "second@example.org")

    with sessions.read() as session:
        assert learners.find(session, "ada") == Learner("ada", "first@example.org")


def test_nobody_takes_the_email_of_somebody_else(sessions):
    with sessions.begin() as session:
        learners.save(session, Learner("ada", "ada@example.org"))
        learners.set_email_if_missing(session, "eve", "ADA@example.org")

    with sessions.read() as session:
        assert learners.find(session, "eve") is None
        assert learners.find(session, "ada") == Learner("ada", "ada@example.org")


def test_where_learners_must_be_known_the_email_of_a_token_registers_nobody(sessions):
    with sessions.begin() as session:
        learners.save(session, Learner("bob"))
        stored = [
            learners.set_email_if_missing(
                session, name, f"{name}@example.org", insert_learner=False
            )
            for name in ("ada", "bob")
        ]

    assert stored == [False, True]
    with sessions.read() as session:
        assert learners.find(session, "ada") is None
        assert learners.find(session, "bob") == Learner("bob", "bob@example.org")
