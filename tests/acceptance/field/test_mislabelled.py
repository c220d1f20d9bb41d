"""Bodies that are not what they are called: refused as a whole, with advice that helps."""

import gzip
import json

import pytest

from tests.support.field_client import COURSES, zipped
from tests.support.service_processes import needs_proc

pytestmark = needs_proc

CSV = f"user,course_id\nmax,{COURSES['C1']}\nmia,{COURSES['C1']}\n".encode()
ROWS = [{"user": "max", "course_id": COURSES["C1"]}, {"user": "mia", "course_id": COURSES["C1"]}]
WORKBOOK = zipped({"[Content_Types].xml": "<x/>", "xl/workbook.xml": "<x/>"})
NDJSON = "application/x-ndjson"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CASES = {
    "a pretty JSON list as NDJSON": (json.dumps(ROWS, indent=2).encode(), NDJSON, "application/json"),
    "a JSON list as NDJSON": (json.dumps(ROWS).encode(), NDJSON, "application/json"),
    "a JSON document as NDJSON": (
        json.dumps({"enrollments": ROWS}, indent=1).encode(), NDJSON, "application/json"
    ),
    "CSV as NDJSON": (CSV, NDJSON, "text/csv"),
    "CSV as JSON": (CSV, "application/json", "text/csv"),
    "NDJSON as JSON": (
        "\n".join(map(json.dumps, ROWS)).encode(), "application/json", "application/x-ndjson"
    ),
    "gzip without its header": (gzip.compress(CSV), "text/csv", "Content-Encoding: gzip"),
    "gzip under its own type": (gzip.compress(CSV), "application/gzip", "Content-Encoding"),
    "a workbook as CSV": (WORKBOOK, "text/csv", "workbook"),
    "a workbook as ZIP": (WORKBOOK, "application/zip", "workbook"),
    "a workbook under its own type": (WORKBOOK, EXCEL, "CSV UTF-8"),
    "CSV without line ends": (CSV.replace(b"\n", b""), "text/csv", "--data-binary"),
    "CSV by curl -d alone": (
        CSV.replace(b"\n", b""), "application/x-www-form-urlencoded", "--data-binary"
    ),
    "CSV in UTF-16": (CSV.decode().encode("utf-16"), "text/csv", "CSV UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "content_type", "advice"), CASES.values(), ids=CASES.keys())
def test_it_is_refused_with_advice(field, body, content_type, advice):
    before = newest(field)

    answer = field.post(body, content_type)

    assert answer.status_code in {400, 415, 422}, answer.text
    assert advice in answer.json()["detail"]
    assert newest(field) == before


def newest(field):
    return field.http.get("/submissions", params={"limit": 1}).json()["submissions"]
