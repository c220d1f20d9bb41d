"""On SQLite rows are decoded while others may write; what comes of them stays the same."""

import pytest
from sqlalchemy import update

from enrollment.domain.codes import Code
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine import write_lock
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import BatchRow
from schemas.files.row_payload import encode_rows
from tests.support.in_process_service import World, row
from tests.support.maintenance_env import FORGOTTEN, MaintenanceEnv
from tests.support.migrated_databases import migrated_sqlite
from worker.processing import decode

ROWS = [row(f"learner{number}") for number in range(12)]


@pytest.fixture
def world(tmp_path):
    url = migrated_sqlite(tmp_path / "records.sqlite3")
    sessions = sessions_for(url)
    made = World(sessions, batch_rows=2)
    made.rows_at_a_time(8)
    made.course()
    yield made
    made.close()
    sessions.dispose()


@pytest.fixture
def decoded(world, monkeypatch):
    """Whether others could write, at each time that rows were decoded."""
    moments = []

    def noting(payload, *how):
        try:
            with world.sessions.begin():
                moments.append(True)
        except DatabaseUnavailable:
            moments.append(False)
        return decode_rows(payload, *how)

    decode_rows = decode.decode_rows
    monkeypatch.setattr(decode, "decode_rows", noting)
    monkeypatch.setattr(write_lock, "SQLITE_BUSY_SECONDS", 0.01)
    return moments


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"on_error": "abort"}], ids=str)
def test_each_batch_is_decoded_once_while_others_may_write(world, decoded, options):
    file = world.send(ROWS, **options)

    world.work()

    assert world.codes(file) == [Code.ENROLLED] * len(ROWS)
    assert decoded == [True] * len(world.batch_ids(file))
    world.check()


def test_what_may_have_failed_is_decoded_after_its_attempt_is_recorded(world, decoded):
    file = world.send(ROWS[:2])
    MaintenanceEnv(world).pass_time(**FORGOTTEN)

    world.work()

    assert decoded == [False]
    assert world.codes(file) == [Code.ENROLLED] * 2


def test_what_cannot_be_decoded_fails_where_it_is_counted(world):
    file = world.send(ROWS[:2])
    (number,) = world.batch_ids(file)
    with world.sessions.begin() as session:
        session.execute(
            update(BatchRow).where(BatchRow.id == number).values(payload=encode_rows(b"\xff\n", 2))
        )

    world.deliver(number)

    assert world.batches(file)[0].attempts == 1


def test_what_is_stored_counts_not_what_was_decoded(world, monkeypatch):
    file = world.send(ROWS[:2])
    (number,) = world.batch_ids(file)
    line = b",course-v1:Uni+Algebra+2026\n"
    other = encode_rows(b"zoe" + line + b"joe" + line, 2)
    prefetcher = world.processor.transaction.prefetcher

    def change_meanwhile(*given):
        decode_ahead(*given)
        with world.sessions.begin() as session:
            session.execute(update(BatchRow).where(BatchRow.id == number).values(payload=other))

    decode_ahead = prefetcher.decode_ahead
    monkeypatch.setattr(
        type(prefetcher), "decode_ahead", lambda _, *given: change_meanwhile(*given)
    )
    world.deliver(number)

    assert [outcome.user for outcome in world.outcomes(file)] == ["zoe", "joe"]
