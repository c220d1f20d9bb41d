"""What waits is found and counted at a cost that does not grow with what waits."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, text, update

from enrollment.domain.codes import Lane
from enrollment.storage.queue import backlog, redispatch
from enrollment.storage.queue.backlog import Backlog, load_backlog
from enrollment.storage.tables import BatchRow
from tests.support.in_process_service import hours_ago, request, row

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def shown(world):
    with world.sessions.read() as session:
        return load_backlog(session)


def change(world, *batch_ids, **values):
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id.in_(batch_ids)).values(**values))


def test_nothing_waits(world):
    world.course()
    world.ask(request("ada"))
    world.send([row("bob")])
    world.work()

    assert shown(world) == Backlog(0, None, 0)


def test_what_waits_in_both_lanes_is_counted_with_the_longest_wait(world):
    world.batch_rows = 1
    world.ask(request("ada"))
    world.send([row("bob"), row("cem")])
    single, first = world.waiting()
    change(world, single, waiting_since=NOW)
    change(world, first, waiting_since=NOW - timedelta(hours=1))

    assert shown(world) == Backlog(2, NOW - timedelta(hours=1), 0)


def test_what_is_parked_is_counted_apart(world):
    world.ask(request("ada"))
    world.ask(request("bob"))
    parked, other = world.waiting()
    change(world, parked, parked_at=hours_ago(1), waiting_since=NOW - timedelta(hours=1))
    change(world, other, waiting_since=NOW)

    assert shown(world) == Backlog(1, NOW, 1)


def test_counting_ends_somewhere(world, monkeypatch):
    monkeypatch.setattr(backlog, "MAX_COUNTED", 2)
    for name in ("ada", "bob"):
        world.ask(request(name))
    assert shown(world)[::3] == (2, False)

    world.send([row("cem")])
    assert shown(world)[::3] == (2, True)


# --- what it costs ----------------------------------------------------------------------------


def fill(world, first, last):
    """Batches that began to wait long ago, a few of which were answered; the index knows."""
    rows = [
        {
            "id": number,
            "lane": (Lane.INTERACTIVE if number % 2 else Lane.BULK).value,
            "requests": 1,
            "payload": b"x" * 200,
            "announced_at": NOW,
            "waiting_since": NOW + timedelta(seconds=number),
        }
        for number in range(first, last)
    ]
    with world.sessions.begin() as session:
        session.execute(insert(BatchRow.__table__), rows)
    with world.sessions.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("VACUUM ANALYZE batch"))


def pages_read(world, statement, parameters):
    def explain(_connection, _cursor, sql, given, *_):
        return f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", given

    event.listen(world.sessions.engine, "before_cursor_execute", explain, retval=True)
    try:
        with world.sessions.engine.connect() as connection:
            plan = connection.execute(statement, parameters).first()[0][0]["Plan"]
    finally:
        event.remove(world.sessions.engine, "before_cursor_execute", explain)
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("is_overdue", [False, True])
def test_finding_what_is_overdue_reads_no_more_pages_where_more_waits(postgres_world, is_overdue):
    before = NOW + timedelta(days=1 if is_overdue else -1)
    parameters = {"lane_name": Lane.BULK.value, "before": before, "most": 8}
    fill(postgres_world, 1, 400)
    few = pages_read(postgres_world, redispatch._OVERDUE, parameters)
    fill(postgres_world, 400, 20_000)

    assert pages_read(postgres_world, redispatch._OVERDUE, parameters) <= few + 8


def test_counting_reads_no_more_pages_where_more_waits(postgres_world):
    fill(postgres_world, 1, 2_000)
    few = pages_read(postgres_world, backlog._BACKLOG, {"most": 500})
    fill(postgres_world, 2_000, 20_000)

    assert pages_read(postgres_world, backlog._BACKLOG, {"most": 500}) <= few + 8
