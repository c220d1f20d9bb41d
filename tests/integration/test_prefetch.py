"""Rows are read ahead while the database writes; what comes of them stays the same."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import update

from enrollment.domain.codes import Code
from enrollment.storage.queue import batches, claims
from enrollment.storage.queue.claims import ClaimedBatch
from enrollment.storage.tables import BatchRow
from schemas.files.raw_rows import format_of_batch
from schemas.files.row_payload import encode_rows
from tests.support.in_process_service import row
from worker.processing import decode

NAMES = [f"learner{number:02}" for number in range(24)]


@pytest.fixture
def world(postgres_world):
    """Where the database writes while Python works."""
    return postgres_world


@pytest.fixture
def file(world):
    """Twelve batches of two rows, four of which are answered in one transaction."""
    world.batch_rows = 2
    world.rows_at_a_time(8)
    world.course()
    return world.send([row(name) for name in NAMES])


def known(world, file, number, payload, whose=None):
    """What is known of a batch of a file (or somebody else's), if it was read ahead."""
    now, its = datetime.now(UTC), whose or file
    batch = ClaimedBatch._make((number, its, 0, 2, payload, "bulk", False, now, now, 0, None))
    return world.processor.transaction.prefetcher.take(
        batch, format_of_batch(world.submission(file), payload)
    )


def kept(world, file, number, payload):
    """The names in a batch, if it was read ahead."""
    read = known(world, file, number, payload)
    return read and [each.request.username for each in read.rows]


def stored(world, file):
    with world.sessions.read() as session:
        return batches.successor_payloads(session, file, -1, 100)


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


def test_what_was_read_is_nobody_elses(world, file):
    world.deliver(world.batch_ids(file)[0])

    (number, payload), *_ = stored(world, file)
    assert known(world, file, number, payload, whose=UUID(int=7)) is None


def test_a_file_is_read_once(world, file, monkeypatch):
    texts = []

    def noting(payload, *how):
        texts.append(payload)
        return decode_rows(payload, *how)

    decode_rows = decode.decode_rows
    monkeypatch.setattr(decode, "decode_rows", noting)

    world.work()

    outcomes = world.outcomes(file)
    assert [(outcome.user, outcome.code) for outcome in outcomes] == [
        (name, Code.ENROLLED) for name in NAMES
    ]
    assert len(texts) == len(set(texts)) == 12
    world.check()


def test_rows_are_settled_ahead_where_all_have_a_username(world):
    world.batch_rows = 1
    world.rows_at_a_time(4)
    ahead = [row("ada"), row("", email="zoe@example.org"), row("bob"), row("eve", mode="no one")]
    file = world.send([*(row(name) for name in NAMES[:4]), *ahead])

    world.deliver(world.batch_ids(file)[0])

    found = [known(world, file, *each) for each in stored(world, file)]
    assert [len(read.rows) for read in found] == [1, 1, 1, 1]
    settled = [read.settled and read.settled[0].username for read in found]
    assert settled == ["ada", None, "bob", "eve"]


def test_what_a_failed_transaction_fetched_is_not_decoded_in_the_next(world, file):
    prefetcher = world.processor.transaction.prefetcher
    with world.sessions.begin() as session:
        (first,) = claims.claim(session, world.batch_ids(file)[0]).batches
        some = [first, *claims.claim_successors(session, first, 6)]
        by_id = {file: world.submission(file)}
        prefetcher.fetch_next(session, some, by_id)
        fetched = prefetcher.fetch_next(session, some[:1], by_id)

    fetched.decode()

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
