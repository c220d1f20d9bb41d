import csv
import gzip
import io
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.files.row_payload import decode_rows
from schemas.files.source import (
    MAX_LINE_CHARS,
    FileTooLarge,
    Limits,
    SpooledSource,
    UnreadableFile,
    gunzip,
    position_of,
)
from schemas.files.splitter import format_of, split

KEY = "course-v1:edX+DemoX+Demo"
LIMITS = Limits(batch_rows=3)


def read(data, media_type="text/csv", limits=LIMITS, size=7):
    """Split and decode a file: the head, the drafts and every row."""
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    head, batches = split(chunks, media_type=media_type, limits=limits)
    drafts = list(batches)
    rows = []
    for draft in drafts:
        decoded = list(decode_rows(draft.payload, head.encoding, head.header))
        assert len(decoded) == draft.rows
        assert decoded[0].line >= draft.first_line
        rows += decoded
    return head, drafts, rows


def users(rows):
    return [(row.line, row.request and row.request.username) for row in rows]


def refusal_of(data, media_type="text/csv", limits=LIMITS, kind=UnreadableFile):
    with pytest.raises(kind) as refusal:
        read(data, media_type, limits)
    return refusal.value


def test_a_csv_file_is_cut_into_batches_in_order():
    data = "user,course_id\n" + "".join(f"u{i},{KEY}\n" for i in range(7))

    head, drafts, rows = read(data.encode())

    assert head == ("csv", "user,course_id", "native", (), ())
    assert [(draft.first_line, draft.rows) for draft in drafts] == [(2, 3), (5, 3), (8, 1)]
    assert users(rows) == [(i + 2, f"u{i}") for i in range(7)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_every_way_to_end_a_line_counts_alike(end, size):
    data = end.join(["", "user,course_id,note", f'ada,{KEY},"a{end}b"', "", f"bob,{KEY}", ""])

    _, _, rows = read(data.encode(), size=size)

    assert users(rows) == [(3, "ada"), (6, "bob")]


def test_a_byte_order_mark_is_passed_over():
    for size in (1, 2, 100):
        assert users(read(f"\ufeffuser,course_id\nada,{KEY}".encode(), size=size)[2]) == [
            (2, "ada")
        ]
        ask = json.dumps({"user": "ada", "course_id": KEY})
        assert users(read(f"\ufeff{ask}".encode(), "application/x-ndjson", size=size)[2]) == [
            (1, "ada")
        ]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_utf_8_is_tried_before_cp1252(encoding):
    _, _, rows = read(f"user,course_id,note\nzoé,{KEY},€\n".encode(encoding))

    assert users(rows) == [(2, "zoé")]
    assert rows[0].cells[2] == "€"


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        pytest.param(
            b"user,course_id\nz\xe9,\x81\n", "not_text", (2, 2, 16), id="neither-encoding"
        ),
        pytest.param(b"user,course_id\n\x81\xc3", "not_text", (2, 1, 15), id="first-fault"),
        pytest.param("é\x81".encode() + b"\n\xc3", "not_text", (2, 1, 5), id="cut-off"),
        pytest.param(b"user,course_id\nada\0,x\n", "not_text", (2, 4, 18), id="nul"),
        pytest.param("user,course_id".encode("utf-16"), "not_text", (1, 1, 0), id="utf-16"),
        pytest.param(b"PK\x03\x04workbook", "not_text", (1, 1, 0), id="workbook"),
        pytest.param(b"", "empty", (None, None, None), id="nothing"),
        pytest.param(b"\n \n", "empty", (None, None, None), id="blank"),
        pytest.param(b"user,course_id\n", "empty", (None, None, None), id="header-only"),
        pytest.param(b"user,course_id\n,\n\n", "empty", (None, None, None), id="blank-rows"),
        pytest.param(b"a,b\n1,2\n", "unknown_columns", (1, None, None), id="columns"),
        pytest.param(
            b"user,user,course_id\na,b,c\n", "repeated_columns", (1, None, None), id="twice"
        ),
        pytest.param(
            b'"user,course_id\n' * 30, "unknown_columns", (1, None, None), id="open-header"
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_where_it_is_broken(data, code, place):
    refusal = refusal_of(data)

    assert refusal.code == code
    assert (refusal.line, refusal.column, refusal.offset) == place
    assert refusal.is_malformed == (code == "not_text")
    assert refusal.finding()["rule"] == code


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("username,course_id", "the header has no user or email ('username' looks like 'user')"),
        ("user,course id", "the header has no course_id ('course id' looks like 'course_id')"),
        (
            "user,mode",
            (
                "the header has no course_id: add it, or name the course of all rows with "
                "the option course_id"
            ),
        ),
        (
            "x;y",
            (
                "the header has no course_id and no user or email: the first line is taken for "
                "the header; yours is `x;y`. If it is a row, put `user;course_id` above it"
            ),
        ),
        ('{"user":1}', "this looks like JSON: send it as application/x-ndjson or application/json"),
    ],
)
def test_missing_columns_are_named_with_the_nearest(header, message):
    refusal = refusal_of(f"{header}\n1,2\n".encode())

    assert refusal.message == message
    assert refusal.expected


def test_quotes_around_line_ends_keep_a_record_together():
    data = f'user,course_id,note\nada,{KEY},"1\n2\n3"\nbob,{KEY},x"y\ncyd,{KEY},"a""b"\ndan,{KEY}\n'

    _, drafts, rows = read(data.encode())

    assert users(rows) == [(2, "ada"), (5, "bob"), (6, "cyd"), (7, "dan")]
    assert [draft.first_line for draft in drafts] == [2, 7]


@pytest.mark.parametrize("rest", [10, 8_000])
def test_a_quote_that_never_closes_costs_its_own_line_only(rest):
    lines = [f"u{i},{KEY}" for i in range(rest)]
    lines[4] = '"' + lines[4]
    data = "\n".join(["user,course_id", *lines])

    _, _, rows = read(data.encode(), limits=Limits(), size=100_000)

    assert len(rows) == rest
    assert [(row.line, row.findings[0]["rule"]) for row in rows if row.findings] == [(6, "quote")]


def test_a_file_of_quotes_that_never_close_is_given_up():
    data = "user,course_id\n" + '"a","b\n' * 20_000

    with pytest.raises(UnreadableFile, match="never closed") as refusal:
        read(data.encode(), limits=Limits(), size=100_000)

    assert refusal.value.is_malformed
    assert refusal.value.line == 52


def test_a_record_that_is_too_long_costs_itself_only():
    data = f"user,course_id,note\nada,{KEY},{'x' * 140_000}\nbob,{KEY}\n"

    _, _, rows = read(data.encode(), size=100_000)

    assert users(rows) == [(2, None), (3, "bob")]
    assert rows[0].findings[0]["rule"] == "length"


TEXT = st.lists(
    st.sampled_from([*',,,""\n\n\r', "\r\n", "a", "b ", " ", KEY, "ada", '"ada"', f'"x\ny",{KEY}']),
    max_size=40,
).map("".join)


@given(TEXT, st.integers(1, 4), st.integers(1, 9))
def test_wherever_a_file_is_cut_its_rows_are_the_same(text, batch_rows, size):
    data = ("user,course_id\n" + text + f"\nlast,{KEY}").encode()

    _, _, rows = read(data, limits=Limits(batch_rows=batch_rows), size=size)
    _, _, whole = read(data, limits=Limits(), size=10_000)

    assert rows == whole
    if all(row.findings is None or row.findings[0]["rule"] != "quote" for row in rows):
        text = io.StringIO(data.decode(), newline="")
        records = [*csv.reader(text, skipinitialspace=True)][1:]
        assert [row.cells for row in rows] == [r for r in records if "".join(r).strip(', \t\r\n"')]


def test_long_rows_make_short_batches():
    data = "user,course_id,note\n" + f"ada,{KEY},{'x' * 100}\n" * 9

    for media_type, body in (
        ("text/csv", data),
        ("application/x-ndjson", f'["{"x" * 100}"]\n' * 9),
    ):
        _, drafts, _ = read(body.encode(), media_type, Limits(batch_bytes=250))
        assert max(draft.rows for draft in drafts) < 4


def test_blank_lines_alone_make_no_batch():
    data = " " * 300 + "\n" + json.dumps({"user": "ada", "course_id": KEY})

    _, drafts, rows = read(data.encode(), "application/x-ndjson", Limits(batch_bytes=250))

    assert [(draft.first_line, draft.rows) for draft in drafts] == [(2, 1)]
    assert users(rows) == [(2, "ada")]


def test_ndjson_is_cut_by_lines_and_blank_ones_are_no_rows():
    ask = json.dumps({"user": "ada", "course_id": KEY})
    data = f"\n{ask}\n \n{ask}\r\n{{\n{ask}\n{ask}"

    head, drafts, rows = read(data.encode(), "application/x-ndjson; charset=utf-8")

    assert head[:2] == ("ndjson", None)
    assert [(draft.first_line, draft.rows) for draft in drafts] == [(1, 3), (6, 2)]
    assert users(rows) == [(2, "ada"), (4, "ada"), (5, None), (6, "ada"), (7, "ada")]


def test_plain_text_may_be_ndjson():
    ask = json.dumps({"user": "ada", "course_id": KEY})

    assert read(f"\n {ask}".encode(), "text/plain")[0].encoding == "ndjson"
    assert read(f"user,course_id\nada,{KEY}".encode(), "text/plain")[0].encoding == "csv"


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"enrollments": rows}])
def test_a_json_document_is_an_array_bare_or_named(wrap):
    rows = [{"user": "ada", "course_id": KEY}, 5, {"user": "bob", "course_id": KEY}, None]

    head, drafts, read_rows = read(json.dumps(wrap(rows)).encode(), "application/JSON")

    assert head[:2] == ("json", None)
    assert [(draft.first_line, draft.rows) for draft in drafts] == [(1, 3), (4, 1)]
    assert users(read_rows) == [(1, "ada"), (2, None), (3, "bob"), (4, None)]


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        pytest.param(b'[{"a": 1,\n "a": 2}]', "malformed_json", 2, id="dishonest"),
        pytest.param(b"[", "malformed_json", 1, id="broken"),
        pytest.param(b"", "malformed_json", 1, id="nothing"),
        pytest.param(b'{"user": "ada"}', "unknown_document", 1, id="one-request"),
        pytest.param(b'{"enrollments": [], "x": 1}', "unknown_document", 1, id="more-keys"),
        pytest.param(b'{"enrollments": {}}', "unknown_document", 1, id="no-array"),
        pytest.param(b"[]", "empty", None, id="empty"),
    ],
)
def test_a_document_that_holds_no_requests_says_what_was_expected(data, code, line):
    refusal = refusal_of(data, "application/json")

    assert (refusal.code, refusal.line) == (code, line)
    assert refusal.expected


def test_empty_ndjson_is_refused():
    assert refusal_of(b"\n\n", "application/x-ndjson").code == "empty"


def test_other_media_types_are_not_read():
    assert refusal_of(b"x", "image/png").code == "unsupported_media_type"
    assert format_of("Text/CSV; charset=utf-8") == "csv"
    assert format_of("application/zip") == "zip"
    assert format_of("application/gzip") is None


ASK = json.dumps({"user": "ada", "course_id": KEY})


@pytest.mark.parametrize(
    ("data", "media_type", "limits", "named"),
    [
        pytest.param(
            f"{ASK}\n" * 2, "application/x-ndjson", Limits(max_bytes=100), "100 bytes", id="bytes"
        ),
        pytest.param(
            "user,course_id\n" * 9, "text/csv", Limits(max_bytes=100), "100 bytes", id="csv-bytes"
        ),
        pytest.param(
            f"{ASK}\n" * 3, "application/x-ndjson", Limits(max_rows=2), "2 rows", id="rows"
        ),
        pytest.param(
            f"{ASK}\n" * 3,
            "application/x-ndjson",
            Limits(max_rows=2, batch_rows=1),
            "2 rows",
            id="rows-later",
        ),
        pytest.param(
            "user,course_id\n" * 4, "text/csv", Limits(max_rows=2), "2 rows", id="csv-rows"
        ),
        pytest.param(
            f"[{ASK},{ASK}]", "application/json", Limits(max_rows=1), "1 rows", id="json-rows"
        ),
        pytest.param(
            f"[{ASK}]", "application/json", Limits(max_json_bytes=9), "x-ndjson", id="json-bytes"
        ),
        pytest.param(
            "user,course_id\n" + "x" * MAX_LINE_CHARS + "y",
            "text/csv",
            Limits(),
            "line 2",
            id="csv-line",
        ),
        pytest.param(
            "\n\n" + "x" * MAX_LINE_CHARS + "y\n",
            "application/x-ndjson",
            Limits(),
            "line 3",
            id="line",
        ),
    ],
)
def test_what_passes_a_limit_is_told_which(data, media_type, limits, named):
    chunks = [data.encode()]

    with pytest.raises(FileTooLarge, match=named):
        list(split(chunks, media_type=media_type, limits=limits)[1])


def test_a_spooled_file_is_read_from_its_first_byte_each_time():
    data = random.Random(1).randbytes(600_000)
    for packed in (False, True):
        file = io.BytesIO(gzip.compress(data) if packed else data)
        file.seek(5)
        chunks = SpooledSource(file, Limits(), gzip=packed)
        assert b"".join(chunks) == b"".join(chunks) == data


def test_readers_of_one_spooled_file_do_not_disturb_each_other():
    data = random.Random(1).randbytes(600_000)
    for packed in (False, True):
        chunks = SpooledSource(
            io.BytesIO(gzip.compress(data) if packed else data), Limits(), gzip=packed
        )
        begun = iter(chunks)
        first = next(begun)
        assert b"".join(chunks) == data
        assert first + b"".join(begun) == data


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=3), st.integers(1, 20), st.booleans())
def test_gzip_is_unpacked_wherever_it_is_cut(parts, size, padded):
    data = b"".join(map(gzip.compress, parts)) + bytes(9 * padded)
    chunks = [data[i : i + size] for i in range(0, len(data), size)]

    assert b"".join(gunzip(chunks, Limits())) == b"".join(parts)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"user,course_id", id="not-gzip"),
        pytest.param(gzip.compress(b"text")[:-1], id="cut-off"),
        pytest.param(gzip.compress(b"text") + b"more", id="more-behind"),
        pytest.param(gzip.compress(b"text")[:-8] + b"12345678", id="wrong-sum"),
    ],
)
def test_damaged_gzip_is_refused(data):
    with pytest.raises(UnreadableFile) as refusal:
        list(gunzip([data], Limits()))

    assert refusal.value.code == "malformed_gzip"
    assert refusal.value.is_malformed


def test_a_gzip_bomb_is_not_unpacked():
    bomb = gzip.compress(bytes(10_000_000))

    with pytest.raises(FileTooLarge, match="200 times"):
        list(gunzip([bomb], Limits()))
    with pytest.raises(FileTooLarge, match="5000 bytes"):
        list(gunzip([bomb], Limits(max_bytes=5000)))


def test_a_byte_has_a_line_and_a_column():
    assert position_of([b"ab\nc", b"d\n\ne"], 0) == (1, 1)
    assert position_of([b"ab\nc", b"d\n\ne"], 4) == (2, 2)
    assert position_of([b"ab\nc", b"d\n\ne"], 7) == (4, 1)
    assert position_of([b"ab\nc", b"d\n\ne"], 8) == (4, 2)
