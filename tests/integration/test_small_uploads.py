"""Short files are stored by one transaction, and small ones together with single requests."""

import asyncio
import hashlib
import io
from contextlib import contextmanager

import pytest
from sqlalchemy import event, func, select

from api_gateway.database import Database
from api_gateway.intake import group_commit
from api_gateway.intake.group_commit import GroupCommitter
from api_gateway.intake.upload_split import split_upload
from enrollment.domain.codes import Code, Lane, State
from enrollment.domain.errors import KeyReused
from enrollment.domain.submissions import SubmissionOptions
from enrollment.storage.tables import BatchRow, IdempotencyRow, SubmissionRow
from intake_store.group_store import SingleRequest, store_group
from intake_store.upload import Upload
from schemas.files.source import Limits
from tests.support.in_process_service import COURSE, SERVER, csv_of, request, row
from tests.support.statements import recorded_statements

#: No database can store it as a header.
NO_TEXT = b"user,course_id"


def upload(*users, key=None, lane=None, fingerprint=b"f", batch_rows=1_000, **options):
    """A file with a row for each user, split completely."""
    made = Upload(
        file=io.BytesIO(csv_of([row(user) for user in users])),
        media_type="text/csv",
        gzip=False,
        caller=SERVER,
        options=SubmissionOptions(**options),
        lane=lane,
        first_byte=0.0,
        request_id=None,
        key=key,
        digest=hashlib.sha256(fingerprint),
    )
    limits = Limits(batch_rows=batch_rows)
    with split_upload(made, limits, max_atomic_rows=1_000, group_size=8) as split:
        assert split.rest is None
        return split.complete(made)


def single(user="ada", *, key=None):
    return SingleRequest(SERVER, request(user), 0.0, None, key, b"f")


def count(world, table):
    with world.sessions.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def accept_all(world, *members):
    """The receipts, or the errors, of members that arrive at once."""

    async def accept():
        committer = GroupCommitter(database, world.dispatcher, monotonic=lambda: 0.0)
        return await asyncio.gather(*map(committer.accept, members), return_exceptions=True)

    database = Database(world.sessions, threads=2)
    try:
        return asyncio.run(accept())
    finally:
        database.close()


@contextmanager
def counted_commits(world):
    commits = []
    engine = world.sessions.engine

    def note(_connection):
        commits.append(1)

    event.listen(engine, "commit", note)
    yield commits
    event.remove(engine, "commit", note)


# --- one transaction ----------------------------------------------------------------------


def test_lists_and_singles_that_arrive_together_share_a_transaction(world):
    world.course()

    with counted_commits(world) as commits:
        receipts = accept_all(
            world, single("ada"), upload("bob", "cyd"), single("dan"), upload("eve", "fay", "gus")
        )
    world.work()

    assert len(commits) == 1
    assert count(world, SubmissionRow) == 4
    assert count(world, BatchRow) == 3
    for receipt, rows in zip(receipts[1::2], (2, 3), strict=True):
        submission = world.submission(receipt.submission_id)
        assert (submission.total, submission.state) == (rows, State.DONE)
        assert world.codes(receipt.submission_id) == [Code.ENROLLED] * rows
    assert len(world.enrollments()) == 7
    world.check()


def test_the_number_of_statements_does_not_depend_on_the_number_of_lists(world):
    def statements(number):
        members = [
            upload(f"a{number}-{n}", f"b{number}-{n}", key=f"{number}-{n}") for n in range(number)
        ]
        with recorded_statements(world.sessions.engine) as seen:
            store_group(world.sessions, members, lambda: 0.0)
        return len(seen)

    assert statements(1) == statements(20)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize(("rows", "commits"), [(1, 1), (8, 1), (9, 4)])
def test_a_file_of_up_to_eight_batches_is_one_transaction(world, rows, commits, key):
    world.course()
    world.batch_rows = 1

    with counted_commits(world) as seen:
        file = world.send([row(f"learner{n}") for n in range(rows)], key=key)
    world.work()

    assert len(seen) == commits
    assert world.codes(file) == [Code.ENROLLED] * rows
    world.check()


def test_the_rest_of_a_file_waits_for_its_first_batch(world):
    world.course()
    (receipt,) = accept_all(world, upload("ada", "bob", "cyd", batch_rows=1))

    announced = [batch.announced for batch in world.batches(receipt.submission_id)]
    world.work()

    assert announced == [True, False, False]
    assert world.batch_ids(receipt.submission_id)[0] == receipt.batch_id
    assert world.codes(receipt.submission_id) == [Code.ENROLLED] * 3
    world.check()


# --- each for itself ----------------------------------------------------------------------


def test_a_list_that_cannot_be_stored_never_fails_the_others(world):
    world.course()
    broken = upload("bad", key="b")
    broken = broken._replace(file_info=broken.file_info._replace(header=NO_TEXT))

    good, failed, alone, last = accept_all(
        world, upload("ada", key="a"), broken, single("bob"), upload("cyd", key="c")
    )
    world.work()

    assert isinstance(failed, Exception)
    assert count(world, SubmissionRow) == 3
    assert count(world, IdempotencyRow) == 2
    for receipt in (good, last):
        assert world.codes(receipt.submission_id) == [Code.ENROLLED]
    assert world.answer(alone.submission_id)[0] is Code.ENROLLED
    world.check()


def test_one_faulty_request_among_many_costs_few_transactions(world):
    world.course()
    broken = upload("bad")
    broken = broken._replace(file_info=broken.file_info._replace(header=NO_TEXT))
    members = [upload(f"learner{n}") for n in range(63)]

    with counted_commits(world) as commits:
        results = accept_all(world, *members[:40], broken, *members[40:])

    assert [isinstance(result, Exception) for result in results].count(True) == 1
    assert len(commits) == 6
    assert count(world, SubmissionRow) == 63


def test_a_group_holds_a_bounded_number_of_bytes(world, monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_GROUP_UPLOAD_BYTES", 200)
    world.course()

    with counted_commits(world) as commits:
        receipts = accept_all(world, *(upload(f"learner{n}") for n in range(12)))
    world.work()

    assert 1 < len(commits) < 12
    assert [world.codes(receipt.submission_id) for receipt in receipts] == [[Code.ENROLLED]] * 12


# --- Idempotency-Keys ---------------------------------------------------------------------


def test_the_same_list_again_is_the_same_submission(world):
    (first,) = accept_all(world, upload("ada", "bob", key="k"))
    again, reused, other = accept_all(
        world,
        upload("ada", "bob", key="k"),
        upload("ada", "bob", key="k", fingerprint=b"other"),
        upload("cyd", key="l"),
    )

    assert (again.submission_id, again.received_at) == (first.submission_id, first.received_at)
    assert again.batch_id is None
    assert isinstance(reused, KeyReused)
    assert other.batch_id is not None
    assert count(world, SubmissionRow) == count(world, IdempotencyRow) == 2


def test_in_one_group_the_first_with_a_key_counts(world):
    first, again, reused = accept_all(
        world, upload("ada", key="k"), upload("ada", key="k"), single("ada", key="k")
    )

    assert again.submission_id == first.submission_id
    assert again.batch_id is None
    assert isinstance(reused, KeyReused)
    assert count(world, SubmissionRow) == count(world, BatchRow) == 1


# --- options ------------------------------------------------------------------------------


def test_options_count_as_in_a_file_of_its_own(world):
    world.course()
    dry, atomic, slow = accept_all(
        world,
        upload("ada", dry_run=True),
        upload("bob", "no such name!", on_error="abort"),
        upload("cyd", lane=Lane.BULK),
    )
    lanes = [world.batches(one.submission_id)[0].lane for one in (dry, atomic, slow)]
    world.work()

    assert lanes == [Lane.BULK, Lane.INTERACTIVE, Lane.BULK]
    assert world.codes(dry.submission_id) == [Code.ENROLLED]
    assert world.codes(atomic.submission_id) == [Code.REFUSED, Code.INVALID]
    assert set(world.enrollments()) == {(COURSE, "cyd")}
    world.check()


def test_of_two_lists_in_one_group_the_later_one_counts(world):
    world.course(modes=["audit", "verified"])
    accept_all(world, upload("ada"), upload("ada", default_mode="verified"))
    world.work()

    assert world.enrollments()[COURSE, "ada"].mode == "verified"
    world.check()
