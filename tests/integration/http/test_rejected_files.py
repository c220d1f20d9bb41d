"""Files that cannot be read as a whole: told where and what was expected, and nothing is kept."""

import gzip
import io
import json
import zipfile

import pytest

from tests.support.gateway import AUDIT

CSV, NDJSON, JSON = "text/csv", "application/x-ndjson", "application/json"
ROW = b"user,course_id\r\nann,a/b/c\r\n"

MALFORMED = [
    ("half an object", JSON, b'{"enrollments": [', "malformed_json"),
    ("duplicate key", JSON, b'{"enrollments": [], "enrollments": []}', "malformed_json"),
    ("NaN", JSON, b'[{"user": NaN}]', "malformed_json"),
    ("deep", JSON, b"[" * 1_000_000, "malformed_json"),
    ("lone surrogate", JSON, b'["\\ud800"]', "malformed_json"),
    ("no bytes of JSON", JSON, b"", "malformed_json"),
    ("neither UTF-8 nor CP1252", CSV, ROW + b"\x81\x8d,\xff\r\n", "not_text"),
    ("UTF-16", CSV, ROW.decode().encode("utf-16"), "not_text"),
    ("NUL", CSV, ROW + b"a\0b,a/b/c\r\n", "not_text"),
    ("a header that stays open", CSV, b'user,"course_id\n', "unclosed_quotes"),
    ("a header that stays open above rows", CSV, b'user,"course_id\n' + ROW * 3, "unclosed_quotes"),
    ("a workbook", CSV, b"PK\x03\x04" + bytes(100), "not_text"),
]
USELESS = [
    ("another object", JSON, b'{"rows": []}', "unknown_document"),
    ("more than enrollments", JSON, b'{"enrollments": [], "x": 1}', "unknown_document"),
    ("enrollments are no list", JSON, b'{"enrollments": {}}', "unknown_document"),
    ("a number", JSON, b"1", "unknown_document"),
    ("no request in an array", JSON, b"[]", "empty"),
    ("no line", NDJSON, b"", "empty"),
    ("blank lines", NDJSON, b"\n \n\r\n", "empty"),
    ("nothing", CSV, b"", "empty"),
    ("blank", CSV, b"\r\n\r\n", "empty"),
    ("header only", CSV, b"user,course_id\r\n", "empty"),
    ("header and blank rows", CSV, b"user,course_id\r\n,\r\n \r\n", "empty"),
    ("unknown columns", CSV, b"name,class\r\nann,7a\r\n", "unknown_columns"),
    ("no course", CSV, b"user,mode\r\nann,audit\r\n", "unknown_columns"),
    ("nobody", CSV, b"course_id,mode\r\na/b/c,audit\r\n", "unknown_columns"),
    ("a column twice", CSV, b"user,course_id,user\r\nann,a/b/c,bob\r\n", "repeated_columns"),
    (
        "a header without measure",
        CSV,
        b"user,course_id," + b"x" * 200_000 + b"\r\nann,a/b/c\r\n",
        "unknown_columns",
    ),
    ("JSON as CSV", CSV, b'[{"user": "ann"}]', "unknown_columns"),
    ("no header", CSV, b"ann,a/b/c\r\nbob,a/b/c\r\n", "unknown_columns"),
]


def post(gateway, body, content_type, **more):
    headers = {"Content-Type": content_type, **more.pop("headers", {})}
    return gateway.post("submissions", gateway.admin, body=body, headers=headers, **more)


def assert_refused(gateway, answer, status, code=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json
    assert {"type", "title", "status", "detail", "code", "message"} <= set(body)
    assert code is None or body["code"] == code
    assert gateway.get("submissions", gateway.admin).json["submissions"] == []
    return body


@pytest.mark.parametrize(
    ("content_type", "body", "code"), [m[1:] for m in MALFORMED], ids=[m[0] for m in MALFORMED]
)
def test_what_is_not_what_it_claims_to_be_is_400(small, content_type, body, code):
    found = assert_refused(small, post(small, body, content_type), 400, code)["errors"][0]
    assert found["expected"]
    assert {"line", "column", "offset"} & set(found)


@pytest.mark.parametrize(
    ("content_type", "body", "code"), [u[1:] for u in USELESS], ids=[u[0] for u in USELESS]
)
def test_what_is_of_no_use_here_is_422(small, content_type, body, code):
    found = assert_refused(small, post(small, body, content_type), 422, code)["errors"][0]
    assert found["expected"]


def test_a_misspelt_column_is_named(small):
    body = assert_refused(small, post(small, b"user,course\r\nann,a/b/c", CSV), 422)
    assert "'course'" in body["detail"]
    assert "course_id" in body["detail"]


def test_an_archive_of_several_files_cannot_be_all_or_nothing(small):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", ROW)
        archive.writestr("b.csv", ROW)

    answer = post(small, packed.getvalue(), "application/zip", query_string="on_error=abort")

    assert "may have one file with rows" in assert_refused(small, answer, 413)["detail"]


@pytest.mark.parametrize(
    "packed",
    [b"", b"no gzip", gzip.compress(ROW, mtime=0)[:-6], gzip.compress(ROW, mtime=0) + b"more"],
)
def test_a_damaged_gzip_is_400(small, packed):
    answer = post(small, packed, CSV, headers={"Content-Encoding": "gzip"})
    assert_refused(small, answer, 400, "malformed_gzip")


def test_a_gzip_that_grows_without_measure_is_413(small):
    bomb = gzip.compress(ROW + b" " * 50_000_000)
    assert_refused(small, post(small, bomb, CSV, headers={"Content-Encoding": "gzip"}), 413)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_another_packing_is_415(small, encoding):
    answer = post(small, ROW, CSV, headers={"Content-Encoding": encoding})
    body = assert_refused(small, answer, 415)
    assert "gzip" in body["detail"]


@pytest.mark.parametrize(
    "content_type", ["", "application/pdf", "text/html", "csv", "application/vnd.ms-excel"]
)
def test_another_media_type_is_415_and_says_what_would_do(small, content_type):
    body = assert_refused(small, post(small, ROW, content_type), 415)
    assert "text/csv" in body["detail"]
    named = f"not {content_type!r}" if content_type else "Content-Type, which is missing"
    assert named in body["detail"]


@pytest.mark.parametrize("media_type", [CSV, NDJSON, JSON, "text/plain"])
@pytest.mark.parametrize("charset", ["utf-16", "shift_jis", "iso-8859-15"])
def test_another_encoding_is_415_even_where_the_bytes_could_be_read(small, media_type, charset):
    body = assert_refused(small, post(small, ROW, f"{media_type}; charset={charset}"), 415)
    assert "UTF-8" in body["detail"]


def test_limits_are_413_say_which_and_leave_nothing(start):
    gateway = start(
        max_upload_rows="20",
        max_upload_bytes="5000",
        max_json_bytes="1000",
        max_atomic_rows="5",
        batch_rows="2",
    )
    rows = b"user,course_id\r\n" + b"ann,a/b/c\r\n" * 21
    long_row = b'{"user": "' + b"a" * 990 + b'"}'
    cases = [
        (rows, CSV, {}, "20"),
        (b'{"user": "ann"}\n' * 21, NDJSON, {}, "20"),
        (json.dumps([{"user": "ann"}] * 21).encode(), JSON, {}, "20"),
        (rows[:100], CSV, {"query_string": "on_error=abort"}, "5"),
        (ROW + b"x" * 5000, CSV, {}, "ENROLL_MAX_UPLOAD_BYTES"),
        (
            gzip.compress(ROW + b"x" * 5000, mtime=0),
            CSV,
            {"headers": {"Content-Encoding": "gzip"}},
            "5000",
        ),
        (b"[" + long_row + b"]", JSON, {}, "application/x-ndjson"),
    ]
    for body, content_type, more, said in cases:
        refused = assert_refused(gateway, post(gateway, body, content_type, **more), 413)
        assert said in refused["detail"]
    assert gateway.settings.batch_rows == 2


def test_a_line_that_is_far_too_long_is_413(small):
    assert_refused(small, post(small, b"user,course_id\r\n" + b"a" * 1_100_000, CSV), 413)
    assert_refused(small, post(small, b'{"user": "' + b"a" * 1_100_000 + b'"}', NDJSON), 413)


BAD_ROWS = [
    ('{"user": "ann"', "json"),
    ('{"user": NaN}', "json"),
    ('{"user": "ann", "user": "bob"}', "json"),
    ('{"user": "\\ud800"}', "json"),
    ('{"user": "a\\u0000b"}', "json"),
    ('{"a":' * 60 + "1" + "}" * 60, "json"),
    ("[]", "type"),
    ("null", "type"),
    ("{}", "required"),
    ('{"user": 7, "course_id": "a/b/c"}', "type"),
]


def test_a_row_that_cannot_be_read_costs_itself_alone(start):
    gateway = start()
    good = json.dumps({"user": "ann", "course_id": gateway.course(AUDIT)})
    lines = [good, *[row for row, _ in BAD_ROWS], good]
    status = gateway.submit("\n".join(lines), content_type=NDJSON)
    assert (status.json["counts"]["invalid"], status.json["state"]) == (len(BAD_ROWS), "done")
    listed = gateway.get(status.json["links"]["outcomes"], gateway.admin).json["outcomes"]
    assert [one["line"] for one in listed] == list(range(1, len(lines) + 1))
    assert [one["outcome"] for one in (listed[0], listed[-1])] == ["enrolled", "unchanged"]
    for one, (_, rule) in zip(listed[1:-1], BAD_ROWS, strict=True):
        assert (one["outcome"], one["reason"]) == ("invalid", "invalid_row")
        assert one["errors"][0]["rule"] == rule
        assert one["message"]
