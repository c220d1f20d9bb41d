"""What a caller hears of a single that was just taken in."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.codes import CallerKind, Kind
from enrollment.domain.submissions import Submission
from schemas.submissions import dump_submission, render_accepted_single_fast

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
CALLERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map("key:{}".format)


@given(st.uuids(), CALLERS, MOMENTS, st.lists(st.text(max_size=9), max_size=2).map(tuple))
def test_it_is_the_status_object_of_the_submission(id_, caller, received_at, ignored):
    submission = Submission(
        id=id_,
        kind=Kind.SINGLE,
        caller=caller,
        caller_kind=CallerKind.LEARNER,
        received_at=received_at,
        total=1,
        ignored_columns=ignored,
    )

    shown = render_accepted_single_fast(str(id_), caller, received_at, ignored)

    assert shown == orjson.dumps(dump_submission(submission, now=received_at))


def test_a_caller_whose_name_looks_like_the_pattern_keeps_it():
    name = 'user:"received_at":"1970-01-01T00:00:00Z"'
    id_, received_at = UUID(int=7), datetime(2026, 1, 1, tzinfo=UTC)

    shown = orjson.loads(render_accepted_single_fast(str(id_), name, received_at))

    assert shown["caller"] == name.removeprefix("user:")
    assert shown["received_at"] == "2026-01-01T00:00:00Z"
