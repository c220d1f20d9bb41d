"""A row that is too long is that row's outcome, never the file's, and costs no more than its size."""

import json

import pytest

from schemas.files.raw_rows import RowFormat, decode_raw_rows
from schemas.files.row_payload import MAX_ROW_BYTES, decode_rows, encode_rows
from schemas.files.source import Limits
from schemas.files.splitter import split

KEY = "course-v1:edX+DemoX+Demo"
LIMITS = Limits(batch_rows=1_000)
#: A line of NDJSON that is longer than a row may be, and takes seconds to validate.
COSTLY = json.dumps({"user": "ada", "course_id": KEY, "enrollment_attributes": [{}] * 200_000})


def ndjson(*rows):
    return "\n".join(rows).encode()


def line(user, size=0):
    return json.dumps({"user": user, "course_id": KEY, "x": "x" * size})


def exactly(size):
    return line("ada", size - len(line("ada")))


def rows_of(data, media_type="application/x-ndjson", source=None):
    """The rows of a file, and the bytes that are stored for it."""
    head, drafts = split([data], media_type=media_type, limits=LIMITS)
    drafts = list(drafts)
    row_format = RowFormat(head.encoding, head.header)
    rows = [
        row
        for draft in drafts
        for row in (
            decode_rows(draft.payload, head.encoding, head.header)
            if source is None
            else (raw.row(None, {}) for raw in decode_raw_rows(draft.payload, row_format))
        )
    ]
    assert sum(draft.rows for draft in drafts) == len(rows)
    return rows, sum(len(draft.payload) for draft in drafts)


def rules(row):
    return None if row.findings is None else [found["rule"] for found in row.findings]


@pytest.mark.parametrize("source", [None, "sis"])
@pytest.mark.parametrize("long", [COSTLY, "x" * 900_000, exactly(MAX_ROW_BYTES + 1)])
def test_a_long_line_of_ndjson_is_invalid_alone(long, source):
    rows, _ = rows_of(ndjson(line("ada"), long, line("bob")), source=source)

    assert [rules(row) for row in rows] == [None, ["length"], None]
    assert [row.line for row in rows] == [1, 2, 3]
    assert rows[1].findings[0]["message"] == f"a row may have at most {MAX_ROW_BYTES} bytes"
    assert len(rows[1].findings[0]["value"]) <= 100


@pytest.mark.parametrize("source", [None, "sis"])
def test_a_line_as_long_as_a_row_may_be_is_read(source):
    rows, _ = rows_of(ndjson(exactly(MAX_ROW_BYTES), line("bob")), source=source)

    assert [rules(row) for row in rows] == [None, None]


def test_the_rest_of_a_long_line_is_not_stored():
    rows, stored = rows_of(ndjson(*[COSTLY] * 8))

    assert [rules(row) for row in rows] == [["length"]] * 8
    assert stored < 8 * MAX_ROW_BYTES + 1_000


def test_a_long_item_of_an_array_is_invalid_alone():
    content = f"[{line('ada')}, {COSTLY}, {line('bob')}]".encode()

    rows, _ = rows_of(content, "application/json")

    assert [rules(row) for row in rows] == [None, ["length"], None]


def test_a_long_row_that_was_stored_earlier_is_not_read_either():
    payload = encode_rows(ndjson(line("ada"), COSTLY), 1)

    assert [rules(row) for row in decode_rows(payload, "ndjson")] == [None, ["length"]]


def csv(*rows):
    return "".join(f"{row}\n" for row in ("user,course_id,note", *rows)).encode()


@pytest.mark.parametrize("cell", ["x" * 70_000, '"' + "x" * 70_000 + '"', "," * 70_000])
@pytest.mark.parametrize("number", [1, 200])
def test_a_long_line_of_csv_is_invalid_alone(cell, number):
    long = [f"eve,{KEY},{cell}"] * number
    good = [f"ada,{KEY},", f'bob,{KEY},"x"']

    rows, _ = rows_of(csv(*good, *long, *good), "text/csv")

    assert [rules(row) for row in rows] == [None] * 2 + [["length"]] * number + [None] * 2
    assert [row.line for row in rows] == list(range(2, number + 6))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("too_long", [False, True])
def test_the_bound_of_a_line_of_csv_does_not_depend_on_its_line_end(end, too_long):
    row = f"ada,{KEY},"
    row += "x" * (MAX_ROW_BYTES + 2 * too_long - len(row))
    data = f"user,course_id,note{end}{row}{end}bob,{KEY},{end}".encode()

    rows, _ = rows_of(data, "text/csv")

    assert [rules(row) for row in rows] == [["length"] if too_long else None, None]


def test_a_quote_that_is_never_closed_is_named_as_such():
    rows, _ = rows_of(csv(f'eve,{KEY},"x', f"ada,{KEY},"), "text/csv")

    assert [rules(row) for row in rows] == [["quote"], None]
