import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.model import Attribute
from schemas.files.csv_rows import cells_of, columns_of, fast_reader, row_request
from schemas.files.row_payload import CSV_ROWS, JSON_ROWS, NDJSON_ROWS, decode_rows, encode_rows
from schemas.requests.parsed import InvalidRequest, ParsedRequest

KEY = "course-v1:edX+DemoX+Demo"
HEADER = "user,course_id,mode,is_active,requested_at,note"
WIDE = (
    "user,email,course_id,mode,is_active,requested_at,cohort,force_enrollment,enrollment_attributes"
    ",email_opt_in"
)


def rows_of(text, header=HEADER, first_line=2, unclosed=()):
    return list(decode_rows(encode_rows(text.encode(), first_line, unclosed), CSV_ROWS, header))


def one(text, header=HEADER):
    [row] = rows_of(text, header)
    return row


def rules(row):
    return [(f["field"], f["value"], f["rule"]) for f in row.findings or ()]


def test_a_row_is_read_and_its_cells_are_kept():
    row = one(f"ada,{KEY},audit,false,2026-01-02T03:04:05Z,hello\n")

    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert row[:4] == (
        2,
        ParsedRequest("ada", None, KEY, is_active=False, mode="audit", requested_at=at),
        None,
        ["ada", KEY, "audit", "false", "2026-01-02T03:04:05Z", "hello"],
    )


@pytest.mark.parametrize(
    "header", ["course_details.course_id;user", "User ; Course_ID", "EMAIL\tcourse_id"]
)
def test_columns_come_in_any_order_case_and_separation(header):
    columns = columns_of(header)
    cells = [
        "ada@b.example" if name == "email" else "ada" if name == "user" else KEY
        for name in columns.names
    ]

    asked = one(columns.delimiter.join(cells), header).request

    assert asked is not None
    assert asked.course_id == KEY


@pytest.mark.parametrize(
    ("cell", "flag"),
    [(c, True) for c in ("", "true", "TRUE", "tRUE", "1", "yes", " Yes ")]
    + [(c, False) for c in ("false", "False", "fALSE", "0", "no", "NO")],
)
def test_flags_are_spelled_in_many_ways(cell, flag):
    assert one(f"ada,{KEY},,{cell},,").request.is_active is flag


def test_missing_cells_are_absent():
    assert one(f"ada,{KEY}").request == ParsedRequest("ada", None, KEY)


def test_empty_cells_beyond_the_columns_do_no_harm():
    assert one(f"ada,{KEY},,,,,,, ").request == ParsedRequest("ada", None, KEY)


def test_the_mark_that_tames_spreadsheets_is_not_read():
    row = one(f"'-ada,{KEY},'=m,,'2026,'@x")

    assert rules(row) == [("requested_at", "'2026", "datetime")]
    assert one(f"'-ada,'{KEY},'+m").findings is not None
    assert one(f"'-ada,{KEY},'+m").request == ParsedRequest("-ada", None, KEY, mode="+m")


def test_spaces_around_a_cell_do_not_belong_to_it():
    assert one(f" ada b , {KEY} , audit ,").request == ParsedRequest(
        "ada b", None, KEY, mode="audit"
    )


@pytest.mark.parametrize(
    ("cell", "opt_in"),
    [("", None), ("true", True), ("Yes", True), ("0", False), (" false ", False)],
)
def test_an_opt_in_has_a_column(cell, opt_in):
    assert one(f"ada,{KEY},{cell}", "user,course_id,email_opt_in").request.email_opt_in is opt_in


def test_an_opt_in_that_is_neither_is_a_finding():
    found = one(f"ada,{KEY},maybe", "user,course_id,email_opt_in")
    assert rules(found) == [("email_opt_in", "maybe", "type")]


def test_attributes_are_json_in_a_cell():
    cell = '"[{""namespace"":""credit"",""name"":""provider_id"",""value"":""x""}]"'
    asked = one(f"ada,,{KEY},credit,,,blue,yes,{cell}", WIDE).request

    assert asked.attributes == (Attribute("credit", "provider_id", "x"),)
    assert (asked.cohort, asked.force) == ("blue", True)
    assert rules(one(f"ada,,{KEY},,,,,,[", WIDE)) == [("enrollment_attributes", "[", "json")]


@pytest.mark.parametrize(
    ("cell", "mode"),
    [
        ("'=m", "=m"),
        ("'  =m", "=m"),
        ("'\tm", "m"),
        ("'＝m", "＝m"),  # noqa: RUF001 (full width is meant)
        ("''=m", "''=m"),
        ("'m", "'m"),
        ("'-1", "'-1"),
        ("'", "'"),
    ],
)
def test_the_mark_is_taken_away_where_it_would_have_been_set_and_nowhere_else(cell, mode):
    assert one(f"ada,{KEY},{cell},,,").request.mode == mode


def test_a_header_that_was_made_plain_text_is_read_as_before():
    assert one(f"ada,{KEY}", "'\tuser,course_id").request.username == "ada"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (f"a;b,{KEY},,x,,", ("a;b", KEY)),
        ("ada,nope,,,,", ("ada", "nope")),
        (f",{KEY},,,,", (None, KEY)),
        (f"ada,{KEY},,,,,x", ("ada", KEY)),
        (f"{'a' * 256},x,,,,", (None, "x")),
    ],
)
def test_a_row_that_cannot_be_read_tells_whom_it_names(row, told):
    unread = one(row)

    assert unread.request is None
    assert (unread.user, unread.course_id) == told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"user": "ada", "course_id": "nope"}, ("ada", "nope")),
        ({"email": "A@b.example", "course_details": {"course_id": "x"}}, ("A@b.example", "x")),
        ({"user": 7, "course_id": [KEY]}, (None, None)),
        ({"user": "a\nb", "course_id": KEY}, (None, KEY)),
        ([], (None, None)),
    ],
)
def test_a_line_of_json_that_cannot_be_read_tells_whom_it_names(body, told):
    [row] = decode_rows(encode_rows(json.dumps(body).encode(), 1), NDJSON_ROWS)

    assert row.request is None
    assert (row.user, row.course_id) == told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f",{KEY},m", [("user", None, "required")], id="nobody"),
        pytest.param("ada,,m", [("course_id", None, "required")], id="nothing"),
        pytest.param("ada,x,m", [("course_id", "x", "course_key")], id="no-key"),
        pytest.param(f"ada,{KEY},,maybe", [("is_active", "maybe", "type")], id="flag"),
        pytest.param(f"ada,{KEY},,,,,x", [("", "x", "columns")], id="too-many"),
        pytest.param(
            f"a;b,{KEY},,,2026",
            [("user", "a;b", "pattern"), ("requested_at", "2026", "datetime")],
            id="two",
        ),
    ],
)
def test_a_row_that_cannot_be_read_says_why_and_harms_no_other(text, expected):
    before, bad, after = rows_of(f"ada,{KEY}\n{text}\nbob,{KEY}\n")

    assert rules(bad) == expected
    assert bad.request is None
    assert (before.request.username, after.request.username) == ("ada", "bob")
    assert bad.cells == cells_of(text, ",")


def test_lines_are_those_of_the_file():
    text = f'ada,{KEY},,,,"one\r\ntwo\nthree"\r\n\r\n,,,\r\nbob,{KEY}\r\n \ncyd,{KEY},,,,""\n'

    assert [(row.line, row.request.username) for row in rows_of(text, first_line=7)] == [
        (7, "ada"),
        (12, "bob"),
        (14, "cyd"),
    ]


def test_a_line_whose_quote_never_closes_stands_for_itself():
    lines = [f"ada,{KEY}\n", f'"bob,{KEY}\n', f"cyd,{KEY}\n", f'"dan,{KEY}']

    rows = rows_of("".join(lines), unclosed=[1, 3])

    assert [(row.line, row.request and row.request.username) for row in rows] == [
        (2, "ada"),
        (3, None),
        (4, "cyd"),
        (5, None),
    ]
    assert rules(rows[1]) == [("", f'"bob,{KEY}', "quote")]
    assert rows[1].cells == [f'"bob,{KEY}']


def test_each_line_of_ndjson_is_a_request_or_says_why_not():
    text = f'{{"user":"ada","course_id":"{KEY}"}}\n\n{{"user":"bob",\r\n[1]\n{{"course_id":"{KEY}"}}\n\xff\n'

    rows = list(decode_rows(encode_rows(text.encode("latin-1"), 1), NDJSON_ROWS))

    assert [(row.line, rules(row)) for row in rows] == [
        (1, []),
        (3, [("", '{"user":"bob",\ufffd', "json")]),
        (4, [("", "[1]", "type")]),
        (5, [("user", None, "required")]),
        (6, [("", "\ufffd", "json")]),
    ]
    assert rows[0].request == ParsedRequest("ada", None, KEY)


def test_rows_of_an_array_are_counted_from_one():
    text = f'{{"email":"A@b.example","course_id":"{KEY}"}}\nnull'.encode()

    rows = list(decode_rows(encode_rows(text, 1001), JSON_ROWS))

    assert [row.line for row in rows] == [1001, 1002]
    assert rows[0].request == ParsedRequest(None, "a@b.example", KEY)
    assert rules(rows[1]) == [("", None, "type")]


def test_rows_of_csv_need_their_header():
    with pytest.raises(ValueError, match="header"):
        decode_rows(encode_rows(b"a,b", 2), CSV_ROWS)


CELLS = st.tuples(
    st.sampled_from(["ada", "a b", " ada", "'-ada", "'ada", "é", "", "a;b", "ada\xa0", "a" * 256]),
    st.sampled_from(["", "", "A@b.example", "'-a@b", "'a@b", "a", " a@b", "İ@b", "İ" * 125 + "@b"]),
    st.sampled_from([KEY, KEY, "a/b/c", " a/b/c", "x", ""]),
    st.sampled_from(["", "audit", " audit", "'=x", "\u2003m", "m\xa0", "m" * 101, "\x1fm"]),
    st.sampled_from(["", "true", "no", "YES", "tRUE", " 0", "maybe", "'-"]),
    st.sampled_from(["", "2026-01-02T03:04:05Z", " 2026-01-02T03:04:05Z", "2026", "x" * 65]),
    st.sampled_from(["", "blue", "'+x", " x"]),
    st.sampled_from(["", "", "1", "x"]),
    st.sampled_from(["", "", "[]", "["]),
    st.sampled_from(["", "", "true", "No", "maybe", " 1"]),
).map(list)


@given(CELLS, st.integers(0, 10), st.lists(st.sampled_from(["", " ", "x"]), max_size=1))
def test_a_row_is_read_quickly_as_it_is_read_slowly(cells, cut, extra):
    columns = columns_of(WIDE)
    cells = (cells[:cut] if cut else cells) + extra

    asked = fast_reader(columns)(cells)

    if asked is not None:
        slow = row_request(cells, columns)
        assert asked == slow
        assert [type(part) for part in asked] == [type(part) for part in slow]


@given(CELLS)
def test_what_is_wrong_with_a_row_is_never_passed_over_quickly(cells):
    columns = columns_of(WIDE)
    try:
        row_request(cells, columns)
    except InvalidRequest:
        assert fast_reader(columns)(cells) is None


def test_rows_in_order_take_the_quick_way():
    read = fast_reader(columns_of(HEADER))

    assert read(["ada", KEY, "audit", "true", "2026-01-02T03:04:05Z", "any note"]) is not None


def test_two_course_columns_are_read_as_in_a_body():
    header = "user,course_id,course_details.course_id"

    assert one(f"ada,{KEY},a/b/c", header).request.course_id == "a/b/c"
    assert one(f"ada,{KEY},", header).request.course_id == KEY
