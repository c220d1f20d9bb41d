"""An enrollment with details that are JSON already is the same bytes as one rendered anew."""

from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.http.responses import dumps
from enrollment.domain.model import Course, Enrollment, Mode, WritePrecedence
from schemas.courses import dump_details
from schemas.enrollments import dump_enrollment, render_spliced, splice_enrollment

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
TIMES = st.datetimes(timezones=st.just(UTC))
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MODES = st.builds(Mode, slug=TEXTS, name=TEXTS, description=st.none() | TEXTS)
COURSES = st.builds(
    Course,
    course_id=TEXTS,
    name=TEXTS,
    enrollment_start=st.none() | TIMES,
    modes=st.lists(MODES, max_size=2).map(tuple),
)


@given(TEXTS, TEXTS, st.booleans(), TIMES, st.none() | COURSES)
def test_spliced_is_the_same_as_rendered(username, mode, is_active, created, course):
    enrollment = Enrollment(mode, is_active, created, WritePrecedence(0, 0, 0), None)
    details = course and orjson.Fragment(
        orjson.dumps(dump_details(course, at=NOW, include_expired=False))
    )

    spliced = splice_enrollment(
        username, mode, is_active=is_active, created=created, details=details
    )

    expected = dump_enrollment(username, enrollment, course, at=NOW)
    assert render_spliced(spliced) == dumps(expected)
    assert render_spliced([spliced, spliced]) == dumps([expected, expected])
