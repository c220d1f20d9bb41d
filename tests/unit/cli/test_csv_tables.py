"""CSV files of courses and learners become objects, each on its own line."""

import json

import pytest

from api_gateway.cli.exit_codes import FileRefused
from api_gateway.cli.remote.courses import COURSE_CSV_COLUMNS, IGNORED_COURSE_COLUMNS
from api_gateway.cli.remote.csv_tables import to_ndjson

ID = "course-v1:A+B+C"


def read(text):
    contents = text if isinstance(text, bytes) else text.encode()
    lines = to_ndjson(contents, COURSE_CSV_COLUMNS, ignored=IGNORED_COURSE_COLUMNS).split(b"\n")
    return {number: json.loads(line) for number, line in enumerate(lines, 1) if line}


@pytest.mark.parametrize(
    ("column", "cell", "members"),
    [
        ("course_name", "Algebra", {"course_name": "Algebra"}),
        ("course_name", "none", {"course_name": "none"}),
        ("enrollment_end", "2026-10-01T00:00:00Z", {"enrollment_end": "2026-10-01T00:00:00Z"}),
        ("enrollment_end", "none", {"enrollment_end": None}),
        ("enrollment_end", "", {}),
        ("invite_only", "Yes", {"invite_only": True}),
        ("invite_only", "0", {"invite_only": False}),
        ("capacity", " 120 ", {"capacity": 120}),
        ("capacity", "None", {"capacity": None}),
        ("cohorts", "Tuesday; Friday;", {"cohorts": ["Tuesday", "Friday"]}),
        ("cohorts", "none", {"cohorts": []}),
        ("modes", "none", {"course_modes": []}),
        ("modes", "audit", {"course_modes": [{"slug": "audit"}]}),
        (
            "modes",
            "audit;verified:49:eur:2026-12-01T00:00:00Z;honor::usd",
            {
                "course_modes": [
                    {"slug": "audit"},
                    {
                        "slug": "verified",
                        "min_price": 49,
                        "currency": "eur",
                        "expiration_datetime": "2026-12-01T00:00:00Z",
                    },
                    {"slug": "honor", "currency": "usd"},
                ]
            },
        ),
        ("seats_taken", "7", {}),
    ],
)
def test_what_a_cell_means(column, cell, members):
    assert read(f"course_id,{column}\n{ID},{cell}\n") == {2: {"course_id": ID, **members}}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_stay_on_their_lines(delimiter):
    rows = [["course_id", "course_name"], [ID, '"two\nlines"'], [""], ["a/b/c", "x"], []]
    text = "\r\n".join(delimiter.join(row) for row in rows)

    assert read(b"\xef\xbb\xbf" + text.encode()) == {
        2: {"course_id": ID, "course_name": "two\nlines"},
        5: {"course_id": "a/b/c", "course_name": "x"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("course_id,capcity\n", "line 1: unknown column 'capcity'; did you mean 'capacity'?"),
        ("course_id,xyz\n", "line 1: unknown column 'xyz'; known are course_id, course_name"),
        ("course_id,course_id\n", "line 1: the column 'course_id' is there twice."),
        (f"course_id,capacity\n\n{ID},ten\n", "line 3, capacity: 'ten' is not a whole number"),
        (f"course_id,invite_only\n{ID},maybe\n", "line 2, invite_only: 'maybe' is neither true"),
        (f"course_id,modes\n{ID},audit:x\n", "line 2, modes: 'audit:x' is not a whole number"),
        (f"course_id,course_name\n{ID},a\ufffdb\n", "line 2, course_name: the character"),
        (b"course_id\n\xff\n", "line 2: this is not UTF-8"),
        ('course_id\n"x', "line 2: unexpected end of data."),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text, message):
    with pytest.raises(FileRefused) as refusal:
        read(text)

    assert refusal.value.message.startswith(message)


def test_a_file_without_rows_is_nothing():
    assert read("") == read("course_id\n") == {}
