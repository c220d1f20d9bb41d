"""Dates of records: which are current at the effective time, and which cannot be read."""

import io
from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.files.batch_draft import FileOptions
from schemas.files.raw_rows import RowFormat, decode_raw_rows
from schemas.files.source import Limits, SpooledSource
from schemas.files.splitter import split

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
#: The words of a status, by index.
ENROLL, WITHDRAW = 0, 1

#: The columns with dates of each format, and a row with a status and two dates.
ROWS = {
    "canvas": (
        "course_id,user_id,role,status,start_date,end_date\nMATH,ada,student,{},{},{}\n",
        ("start_date", "end_date"),
        ("active", "deleted"),
    ),
    "oneroster": (
        """sourcedId,status,classSourcedId,userSourcedId,role,beginDate,endDate
e1,{},MATH,ada,student,{},{}
""",
        ("begindate", "enddate"),
        ("", "tobedeleted"),
    ),
    "moodle_flat": ("{},student,ada,MATH,{},{}\n", ("starttime", "endtime"), ("add", "del")),
}


def came_of(name, status, begin, end, at=NOW):
    """True or False for a request, else a set of why it is skipped or a list of what is wrong."""
    text, _, words = ROWS[name]
    body = text.format(words[status], begin, end).encode()
    chunks = SpooledSource(io.BytesIO(body), Limits())
    head, drafts = split(chunks, media_type="text/csv", limits=Limits(), options=FileOptions(name))
    (draft,) = drafts
    row_format = RowFormat(head.encoding, head.header, head.format, received_at=at)
    (row,) = decode_raw_rows(draft.payload, row_format)
    if row.not_applicable is not None:
        return {(row.not_applicable.field, row.not_applicable.reason)}
    if row.findings:
        return [(item["field"], item["rule"]) for item in row.findings]
    return row.body["is_active"]


@pytest.mark.parametrize("name", ["canvas", "oneroster"])
@pytest.mark.parametrize(
    ("begin", "end", "outside"),
    [
        ("", "", None),
        ("2026-11-23", "2026-11-23", None),
        ("2026-11-23", "", None),
        ("2026-11-24", "", 0),
        ("", "2026-11-22", 1),
        ("", "9999-12-31", None),
        ("0001-01-01", "9999-12-31T23:59:59-12:00", None),
        ("2026-11-23T12:00:00Z", "", None),
        ("2026-11-23T12:00:01Z", "", 0),
        ("2026-11-23T13:00:00+01:00", "", None),
        ("", "2026-11-23T12:00:00Z", 1),
        ("", "2026-11-23T12:00:00.000001Z", None),
        ("", "2026-11-23 12:00:00", 1),
        ("2099-09-01", "2100-01-31", 0),
        ("2024-09-01", "2025-01-31", 1),
        # The record is over before it begins: its end has passed, its begin is to come.
        ("2099-09-01", "2025-01-31", 0),
    ],
)
def test_a_record_is_current_between_its_dates(name, begin, end, outside):
    columns = ROWS[name][1]
    expected = True if outside is None else {(columns[outside], "not_current")}

    assert came_of(name, ENROLL, begin, end) == expected
    assert came_of(name, WITHDRAW, begin, end) is False


@pytest.mark.parametrize(
    ("begin", "end", "outside"),
    [
        ("0", "0", None),
        ("", "", None),
        (SECONDS, "0", None),
        (SECONDS + 1, "0", 0),
        ("0", SECONDS, 1),
        ("0", SECONDS + 1, None),
        ("0", "999999999999", None),
        ("999999999999", "0", 0),
    ],
)
def test_times_of_moodle_are_seconds(begin, end, outside):
    columns = ROWS["moodle_flat"][1]
    expected = True if outside is None else {(columns[outside], "not_current")}

    assert came_of("moodle_flat", ENROLL, begin, end) == expected
    assert came_of("moodle_flat", WITHDRAW, begin, end) is False


@pytest.mark.parametrize("status", [ENROLL, WITHDRAW])
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "value", ["31.01.2025", "soon", "2026-02-30", "-1", "2026-\u0661\u0661-23"]
)
def test_a_date_that_cannot_be_read_is_named(name, status, place, value):
    dates = ["", ""]
    dates[place] = value
    rule = "type" if name == "moodle_flat" else "datetime"

    assert came_of(name, status, *dates) == [(ROWS[name][1][place], rule)]


def test_a_day_is_one_of_utc_wherever_the_service_keeps_its_time():
    east = NOW.astimezone(timezone(timedelta(hours=14)))  # the 24th there

    assert came_of("canvas", ENROLL, "2026-11-24", "", at=east) == {("start_date", "not_current")}
    assert came_of("canvas", ENROLL, "", "2026-11-23", at=east) is True


def test_without_an_effective_time_every_record_is_current():
    assert came_of("canvas", ENROLL, "2099-01-01", "2000-01-01", at=None) is True
