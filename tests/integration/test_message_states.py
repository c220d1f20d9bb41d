"""What became of messages at all endpoints."""

from uuid import uuid4

import pytest
from sqlalchemy import event

from enrollment.domain.codes import DeliveryState
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.events import events_after
from enrollment.storage.webhooks import deliveries
from schemas.events import public_event_id
from tests.integration.test_webhooks import Hooks
from tests.support.in_process_service import World, request


@pytest.fixture
def hooks(sessions):
    made = Hooks(sessions)
    yield made
    made.http.close()


def test_the_states_of_messages_are_found_at_each_endpoint(world: World, hooks: Hooks) -> None:
    first, second = (hooks.add(f"https://{name}.example.org/").id for name in "ba")
    world.course()
    world.ask(request("ada"), request("bob"))
    world.work()
    hooks.read_all()
    with world.sessions.read() as session:
        ids = [public_event_id(each) for each in events_after(session, 0, limit=2)]
        found = deliveries.find_states(session, ids)
        assert (
            deliveries.find_states(session, []) == deliveries.find_states(session, [uuid4()]) == []
        )
    assert [one.webhook_id for one in found] == [first, first, second, second]
    assert {one.url for one in found[:2]} == {"https://b.example.org/"}
    assert {one.message_id for one in found} == set(ids)
    assert {one.state for one in found} == {DeliveryState.PENDING}


def test_no_statement_reads_all_deliveries(world: World, hooks: Hooks) -> None:
    hooks.add("https://a.example.org/")
    plans = plans_of(world.sessions)
    assert plans
    assert not any("SCAN webhook_delivery" in plan for plan in plans)
    assert not any("Seq Scan on webhook_delivery" in plan for plan in plans)


def plans_of(sessions: Sessions) -> list[str]:
    """Returns how the database carries out the statements about three messages."""
    statements: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    with sessions.read() as session:
        connection = session.connection()
        explain = "EXPLAIN QUERY PLAN"
        if connection.dialect.name == "postgresql":
            explain = "EXPLAIN"
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        event.listen(sessions.engine, "before_cursor_execute", note)
        deliveries.find_states(session, [uuid4() for _ in range(3)])
        event.remove(sessions.engine, "before_cursor_execute", note)
        return [
            str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())
            for statement, parameters in statements
        ]
