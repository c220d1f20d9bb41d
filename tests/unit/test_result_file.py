"""Result files: the caller's own columns, then the answer, safe to open and to send again."""

import csv
import io
import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Attribute, Outcome
from schemas.files.csv_rows import unescape_cell
from schemas.files.row_payload import NDJSON_ROWS, ParsedRow, decode_rows, encode_rows
from schemas.files.safe_cells import safe_cell
from schemas.requests.parsed import ParsedRequest
from schemas.requests.schema import load_request
from schemas.result_file import cells_from_request, layout_of, ndjson_line

FORMULA_SIGNS = frozenset("=+-@＝＋－＠﹦﹢﹣﹫")  # noqa: RUF001
UNSEEN = " \xa0\x1f\t\r\n\u200b\ufeff"
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
ENROLLED = Outcome(2, "ada", "C", Code.ENROLLED)
INVALID = Outcome(2, None, None, Code.INVALID, Reason.INVALID_ROW)
FULL = Outcome(3, "bob", "C", Code.REFUSED, Reason.COURSE_FULL, {"capacity": 1})


@pytest.mark.parametrize(
    "cell",
    [
        "\u200b=1",
        "\ufeff @x",
        "\u2066-x",
        "﹦1",
        "﹢x",
        "﹣x",
        "﹫x",
        "=1+1",
        "+cmd",
        "-cmd",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "  =1",
        "＝1",  # noqa: RUF001
        "＋1x",  # noqa: RUF001
        "－1x",  # noqa: RUF001
        "＠x",  # noqa: RUF001
    ],
)
def test_what_a_spreadsheet_would_run_is_made_plain_text(cell):
    assert safe_cell(cell) == "'" + cell


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("a;=1+1", "a;'=1+1"),
        ("=1;=2", "'=1;'=2"),
        ("a, @x", "a,' @x"),
        ("a;\u200b=1,-x;-1", "a;'\u200b=1,'-x;-1"),
        ("Berg, Pia; PhD", "Berg, Pia; PhD"),
        ("a;'=1", "a;'=1"),
    ],
)
def test_parts_at_which_a_spreadsheet_may_split_are_made_plain_text_too(cell, safe):
    assert safe_cell(cell) == safe
    assert unescape_cell(safe) == unescape_cell(cell)


@pytest.mark.parametrize("cell", ["", "ada", "-1", "+3.5", "1-2", "a=b", "'quoted", "course-v1:A"])
def test_everything_else_stays_as_it_is(cell):
    assert safe_cell(cell) == cell


def test_a_result_file_has_the_callers_columns_and_then_the_answer():
    layout = layout_of("note;user;course_id")

    assert layout.header_line() == "note;user;course_id;outcome;reason;message\r\n"
    assert layout.row_line(FULL, ["a;b", "bob", "C"]) == (
        '"a;b";bob;C;refused;course_full;All seats are taken (capacity 1): raise the '
        "capacity, or wait for a free seat.\r\n"
    )
    assert layout.row_line(ENROLLED, ["", "ada", "C"]) == ";ada;C;enrolled;;\r\n"


def test_rows_are_as_wide_as_the_header():
    layout = layout_of("user,course_id,mode")

    assert layout.row_line(ENROLLED, ["ada"]) == "ada,,,enrolled,,\r\n"
    assert layout.row_line(ENROLLED, ["ada", "C", "m", " ", ""]) == "ada,C,m,enrolled,,\r\n"


def test_cells_that_have_no_column_are_kept_behind_the_answer_and_stay_a_fault():
    cells = ["ada", "course-v1:A+B+C", "", "=more"]
    header, found = "user,course_id", []
    for _ in range(3):
        row = ParsedRow(2, None, None, cells)
        layout = layout_of(header)
        line = layout.row_line(INVALID, row.cells)
        header = layout.header_line().strip()
        (again,) = decode_rows(encode_rows(line.encode(), 2), "csv", header)
        found.append((line, again.findings[0]["rule"]))
        cells = again.cells

    assert {rule for _, rule in found} == {"columns"}
    assert len({line for line, _ in found}) == 1
    assert found[0][0].endswith(",,'=more\r\n")


@pytest.mark.parametrize("added", ["outcome,reason,message", "Outcome, Reason ,MESSAGE"])
def test_a_result_file_that_is_sent_again_gets_no_second_answer(added):
    layout = layout_of(f"user,course_id,{added}")

    assert layout.header_line() == "user,course_id,outcome,reason,message\r\n"
    assert layout.row_line(ENROLLED, ["ada", "C", "refused", "course_full", "…"]) == (
        "ada,C,enrolled,,\r\n"
    )


def test_without_a_header_the_columns_are_ours():
    layout = layout_of(None)
    request = ParsedRequest(
        "ada",
        "ada@example.org",
        "course-v1:A+B+C",
        is_active=False,
        mode="credit",
        attributes=(Attribute("credit", "provider_id", "x"),),
        cohort="red",
        force=True,
        requested_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        email_opt_in=False,
    )

    cells = cells_from_request(ENROLLED, request)

    assert dict(zip(layout.columns, cells, strict=True)) == {
        "line": "2",
        "user": "ada",
        "email": "ada@example.org",
        "course_id": "course-v1:A+B+C",
        "mode": "credit",
        "is_active": "false",
        "requested_at": "2026-01-02T03:04:05Z",
        "enrollment_attributes": '[{"namespace":"credit","name":"provider_id","value":"x"}]',
        "cohort": "red",
        "force_enrollment": "true",
        "email_opt_in": "false",
    }


def test_a_row_that_could_not_be_read_shows_what_is_known_of_it():
    invalid = Outcome(7, None, None, Code.INVALID, Reason.INVALID_ROW)

    assert cells_from_request(invalid, None) == ["7", "", "", ""]
    assert (
        layout_of(None)
        .row_line(invalid, cells_from_request(invalid, None))
        .startswith("7,,,,,,,,,,,inv")
    )


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))), max_size=4)
)
def test_any_cells_come_back_out_of_a_result_file(rows):
    layout = layout_of("user,course_id,note")
    text = layout.header_line() + "".join(layout.row_line(ENROLLED, cells) for cells in rows)

    read = list(csv.reader(io.StringIO(text, newline="")))

    for sent, got in zip(rows, read[1:], strict=True):
        own = (sent + [""] * 3)[:3]
        more = sent[3:] if any(map(str.strip, sent[3:])) else []
        assert list(map(unescape_cell, got)) == list(
            map(unescape_cell, [*own, "enrolled", "", "", *more])
        )


@given(st.text(st.sampled_from("'=+-@ \t\r\n\0＝﹦﹫1.a,;\xa0\x1f\u200b\ufeff")))  # noqa: RUF001
def test_a_cell_that_was_made_plain_text_is_read_as_before(cell):
    once = safe_cell(cell)
    bare = [part.strip(UNSEEN) for part in re.split("[;,]", once)]

    assert not [part for part in bare if part[:1] in FORMULA_SIGNS and not NUMBER.fullmatch(part)]
    assert unescape_cell(once) == unescape_cell(cell)
    assert safe_cell(once) == once


@pytest.mark.parametrize(
    "body",
    [
        {"user": "ada", "course_id": "course-v1:A+B+C", "is_active": ""},
        {"user": "ada", "course_id": "course-v1:A+B+C", "is_active": "true"},
        {"user": "ada", "course_id": "course-v1:A+B+C", "enrollment_attributes": "[]"},
        {"user": "ada", "course_id": "nope", "mode": "audit", "is_active": False},
        {"user": "a/b", "course_details": {"course_id": "course-v1:A+B+C"}},
        {"user": ["ada"], "course_id": "course-v1:A+B+C"},
        {"course_id": "course-v1:A+B+C", "cohort": "red"},
    ],
)
def test_a_request_that_cannot_be_read_stands_in_its_result_file_and_stays_a_fault(body):
    (row,) = decode_rows(encode_rows(json.dumps(body).encode(), 1), NDJSON_ROWS)
    layout = layout_of(None)
    cells = cells_from_request(INVALID, row.request, row.unvalidated)
    shown = dict(zip(layout.columns, cells, strict=True))

    (again,) = decode_rows(
        encode_rows(layout.row_line(INVALID, cells).encode(), 2),
        "csv",
        layout.header_line().strip(),
    )

    assert (again.user, again.course_id) == (row.user or shown["user"] or None, row.course_id)
    assert shown["mode"] == body.get("mode", "")
    assert shown["cohort"] == body.get("cohort", "")
    assert [found["field"] for found in again.findings] == [f["field"] for f in row.findings]


def test_a_request_that_came_as_json_can_be_sent_again_out_of_its_result_file():
    body = {
        "user": "ada",
        "course_id": "course-v1:A+B+C",
        "mode": "credit",
        "enrollment_attributes": [{"namespace": "credit", "name": "provider_id", "value": "x"}],
        "requested_at": "2026-01-02T03:04:05Z",
        "email_opt_in": True,
    }
    (row,) = decode_rows(encode_rows(json.dumps(body).encode(), 1), NDJSON_ROWS)
    layout = layout_of(None)
    line = layout.row_line(ENROLLED, cells_from_request(ENROLLED, row.request))

    header = layout.header_line().strip()
    (again,) = decode_rows(encode_rows(line.encode(), 2), "csv", header)

    assert again.request == load_request(body)


def test_an_outcome_is_a_line_of_ndjson():
    assert json.loads(ndjson_line(FULL, {})) == {
        "line": 3,
        "user": "bob",
        "course_id": "C",
        "outcome": "refused",
        "reason": "course_full",
        "message": (
            "All seats are taken (capacity 1): raise the capacity, or wait for a free seat."
        ),
        "capacity": 1,
    }
    assert ndjson_line(FULL, {}).endswith("\n")
