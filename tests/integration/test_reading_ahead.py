"""Rows are read ahead while the database writes; what comes of them stays the same."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import update

from enrollment.domain.codes import Code
from enrollment.storage import batches, claims
from enrollment.storage.claims import ClaimedBatch
from enrollment.storage.tables import BatchRow
from schemas.payloads import encode_rows
from schemas.sent import form_of
from tests.support.world import row
from worker import reading

NAMES = [f"learner{number:02}" for number in range(24)]


@pytest.fixture
def file(world):
    """Twelve batches of two rows, four of which are answered in one transaction."""
    world.batch_rows = 2
    world.course()
    return world.send([row(name) for name in NAMES])


def kept(world, file, number, payload):
    """The names in a batch, if it was read ahead."""
    now = datetime.now(UTC)
    batch = ClaimedBatch._make((number, UUID(int=0), 0, 2, payload, "bulk", False, now, 0, None))
    rows = world.processor.ahead.rows(batch, form_of(world.submission(file), payload))
    return rows and [each.request.username for each in rows]


def stored(world, file):
    with world.sessions.read() as session:
        return batches.payloads_behind(session, file, -1, 100)


def test_the_next_batches_are_read_and_each_is_given_once(world, file):
    world.deliver(world.batch_ids(file)[0])

    behind = stored(world, file)
    assert len(behind) == 8
    found = [kept(world, file, *each) for each in behind]
    assert found == [NAMES[8:10], NAMES[10:12], NAMES[12:14], NAMES[14:16], *[None] * 4]
    assert [kept(world, file, *each) for each in behind] == [None] * 8


def test_what_is_stored_counts_not_what_was_read(world, file):
    world.deliver(world.batch_ids(file)[0])

    (number, payload), *_ = stored(world, file)
    assert kept(world, file, number, payload + b" ") is None
    assert kept(world, file, number, payload) is None


def test_a_file_comes_to_the_same_and_is_read_once(world, file, monkeypatch):
    read_in_turn = []

    def noting(payload, *how):
        read_in_turn.append(payload)
        return decode_rows(payload, *how)

    decode_rows = reading.decode_rows
    monkeypatch.setattr(reading, "decode_rows", noting)

    world.work()

    outcomes = world.outcomes(file)
    assert [(outcome.user, outcome.code) for outcome in outcomes] == [
        (name, Code.ENROLLED) for name in NAMES
    ]
    assert len(read_in_turn) == 4
    world.check()


def test_what_a_failed_transaction_fetched_is_not_read_in_the_next(world, file):
    ahead = world.processor.ahead
    with world.sessions.begin() as session:
        (first,) = claims.claim(session, world.batch_ids(file)[0]).taken
        some = [first, *claims.claim_behind(session, first, 3)]
        heads = {file: world.submission(file)}
        ahead.look(session, some, heads)
        ahead.look(session, some[:1], heads)

    ahead.read()

    assert [kept(world, file, *each) for each in stored(world, file)] == [None] * 12


def test_what_cannot_be_read_harms_nobody_before_its_turn(world, file):
    ids = world.batch_ids(file)
    other = encode_rows(b"\xff\n", 2)
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id == ids[5]).values(payload=other))

    (done,) = world.deliver(ids[0])

    assert done.batch_ids == tuple(ids[:4])
    read = [kept(world, file, *each) is not None for each in stored(world, file)]
    assert read == [True, False, True, True, False, False, False, False]
