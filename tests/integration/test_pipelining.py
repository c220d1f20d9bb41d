"""Statements on their way: what they come to, and what happens when they fail."""

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage import learners
from enrollment.storage.bulk.pipelining import Statement, pipelined
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import LearnerRow
from tests.support.context_managers import at_once
from tests.support.service_processes import wait_until

_LEARNERS = LearnerRow.metadata.tables[LearnerRow.__tablename__]
ADD = insert(_LEARNERS).returning(_LEARNERS.c.username, _LEARNERS.c.id)


def known(sessions, *usernames):
    with sessions.read() as session:
        return sorted(learners.find_many(session, usernames))


def test_rows_and_counts_are_there_after_the_block(sessions):
    with sessions.begin() as session:
        add = Statement(ADD, {"username": "zoë"})
        with pipelined(session, add) as (made,):
            before = made.rows if session.get_bind().dialect.name == "postgresql" else []
        change = Statement(update(_LEARNERS).values(is_staff=True), {})
        with pipelined(session, change) as (changed,):
            done_meanwhile = sum(range(10))
        number = session.scalar(select(_LEARNERS.c.id))

    assert before == []
    assert made.rows == [("zoë", number)]
    assert changed.count == 1
    assert done_meanwhile == 45


def send(sessions, statement, given, meanwhile=bool):
    """Send a statement in a transaction of its own; what the block came to."""
    with sessions.begin() as session, pipelined(session, Statement(statement, given)):
        return meanwhile()


def test_several_are_sent_at_once_and_each_has_what_it_came_to(sessions):
    names = ["ada", "bob", "zoë"]
    adding = [Statement(ADD, {"username": name}) for name in names]
    with sessions.begin() as session, pipelined(session, *adding) as made:
        done_meanwhile = len(made)

    assert done_meanwhile == 3
    assert [one.rows[0][0] for one in made] == names
    assert known(sessions, *names) == names


@pytest.mark.parametrize("names", [["ada", "bob"], ["bob", "ada"]])
def test_one_of_several_that_fails_takes_the_others_with_it(sessions, names):
    send(sessions, ADD, {"username": "ada"})
    adding = [Statement(ADD, {"username": name}) for name in names]

    with pytest.raises(IntegrityError), sessions.begin() as session:
        at_once(pipelined(session, *adding))

    assert known(sessions, "ada", "bob") == ["ada"]


def test_several_are_waited_for_as_long_as_each_may_take(postgres_world):
    url = postgres_world.sessions.engine.url.render_as_string(hide_password=False)
    impatient = sessions_for(url, pool_size=1, server_timeout=2.0)
    naps = [Statement(text("SELECT pg_sleep(0.8)"), {})] * 3  # a busy machine may add a second

    with impatient.begin() as session:
        assert len(at_once(pipelined(session, *naps))) == 3
    with pytest.raises(DatabaseUnavailable):
        send(impatient, text("SELECT pg_sleep(2.4)"), {})
    impatient.dispose()


def test_where_nothing_is_sent_the_block_is_run(sessions):
    with sessions.begin() as session:
        assert at_once(pipelined(session)) == []


def test_a_statement_that_fails_takes_its_transaction_with_it(sessions):
    send(sessions, ADD, {"username": "ada"})

    with pytest.raises(IntegrityError):
        send(sessions, ADD, {"username": "ada"})

    assert known(sessions, "ada", "bob") == ["ada"]
    send(sessions, ADD, {"username": "bob"})
    assert known(sessions, "ada", "bob") == ["ada", "bob"]


def test_what_fails_meanwhile_fails_and_the_connection_goes_on(sessions):
    with pytest.raises(LookupError):
        send(sessions, ADD, {"username": "ada"}, lambda: {}["nobody"])

    assert known(sessions, "ada") == []
    send(sessions, ADD, {"username": "ada"})
    assert known(sessions, "ada") == ["ada"]


def test_a_server_that_goes_meanwhile_is_told_as_such(postgres_world):
    sessions = postgres_world.sessions
    with sessions.begin() as session:
        mine = session.scalar(text("SELECT pg_backend_pid()"))

    def cut():
        with sessions.read() as other:
            other.scalar(text("SELECT pg_terminate_backend(:pid)"), {"pid": mine})

    with pytest.raises(DatabaseUnavailable):
        send(sessions, text("SELECT pg_sleep(9)"), {}, cut)

    send(sessions, ADD, {"username": "ada"})
    assert known(sessions, "ada") == ["ada"]


def test_who_says_nothing_meanwhile_is_ended_by_the_server(postgres_world):
    sessions = postgres_world.sessions

    def left(pid):
        with sessions.read() as other:
            return other.scalar(
                text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}
            )

    def silent():
        with sessions.begin() as session:
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 50"))
            with pipelined(session, Statement(ADD, {"username": "ada"})):
                wait_until(lambda: not left(pid))

    with pytest.raises(DatabaseUnavailable):
        silent()

    assert known(sessions, "ada") == []


def test_the_error_of_a_statement_on_its_way_is_the_drivers_own(postgres_world):
    with pytest.raises(DBAPIError) as raised:
        send(postgres_world.sessions, text("SELECT 1 / CAST(:none AS integer)"), {"none": 0})

    assert raised.value.orig.sqlstate == "22012"


@pytest.mark.parametrize("is_nothing_sent", [False, True])
def test_another_statement_meanwhile_is_refused(sessions, is_nothing_sent):
    adding = [] if is_nothing_sent else [Statement(ADD, {"username": "ada"})]
    with (
        pytest.raises(RuntimeError, match="in flight"),
        sessions.begin() as session,
        pipelined(session, *adding),
    ):
        session.scalar(select(_LEARNERS.c.id))
    with sessions.begin() as session:
        assert session.scalars(select(_LEARNERS.c.id)).all() == []
