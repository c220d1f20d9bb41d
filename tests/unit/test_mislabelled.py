"""Bodies that are not what they are sent as: refused as a whole, with how to send them."""

import gzip
import io
import json
import zipfile

import pytest

from schemas.files.archives.zip_splitter import split_archive
from schemas.files.batch_draft import FileOptions
from schemas.files.mislabelled import advice_for
from schemas.files.source import Limits, UnreadableFile
from schemas.files.splitter import split

KEY = "course-v1:edX+DemoX+Demo"
CSV = "user,course_id,mode\n" + "".join(f"u{n},{KEY},audit\n" for n in range(5))
ASKS = [{"user": f"u{n}", "course_id": KEY} for n in range(5)]
LINES = "".join(json.dumps(ask) + "\n" for ask in ASKS)
TEXTS = ["text/csv", "text/plain", "application/x-ndjson", "application/json"]
CSV_TYPE, NDJSON, JSON, ZIP = "text/csv", "application/x-ndjson", "application/json", "zip"


def archive(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for name in names:
            out.writestr(name, "x")
    return packed.getvalue()


XLSX = archive("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml")


def read(body, media_type):
    if media_type == ZIP:
        return list(split_archive(io.BytesIO(body), Limits())[1])
    chunks = [body[i : i + 50] for i in range(0, len(body), 50)]
    return list(split(chunks, media_type=media_type, limits=Limits())[1])


def message_of(body, media_type):
    """Returns code and message of the refusal of a body."""
    with pytest.raises(UnreadableFile) as refusal:
        read(body, media_type)
    assert refusal.value.expected
    return refusal.value.code, refusal.value.message


#: Bodies that are no text, and words of their advice.
BINARIES = {
    "gzip": (gzip.compress(CSV.encode()), "Content-Encoding: gzip"),
    "xlsx": (XLSX, "open a workbook and save it as CSV UTF-8"),
    "zip": (archive("a.csv"), "send an archive as application/zip"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "a workbook"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\n", "a PDF document"),
    "html": (b"\n<!DOCTYPE html><html>", "HTML or XML"),
    "html-table": (b"<TABLE border=1><tr>", "HTML or XML"),
    "xml": (b"<?xml version='1.0'?>", "HTML or XML"),
    "utf-16": (CSV.encode("utf-16"), "UTF-16 text: save it as CSV UTF-8"),
    "utf-16-le": (CSV.encode("utf-16-le"), "UTF-16 text: save it as CSV UTF-8"),
    "utf-16-be": (CSV.encode("utf-16-be"), "UTF-16 text: save it as CSV UTF-8"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0", "a 7z archive"),
}


@pytest.mark.parametrize("media_type", [*TEXTS, "text/csv; charset=windows-1252"])
@pytest.mark.parametrize("kind", BINARIES)
def test_what_is_no_text_is_refused_by_its_first_bytes(kind, media_type):
    body, advice = BINARIES[kind]

    code, message = message_of(body, media_type)

    assert code == "not_text"
    assert advice in message


@pytest.mark.parametrize("kind", [kind for kind in BINARIES if kind not in {"xlsx", "zip"}])
def test_what_is_no_archive_is_named(kind):
    body, advice = BINARIES[kind]

    code, message = message_of(body, ZIP)

    assert code == "malformed_zip"
    assert advice in message


@pytest.mark.parametrize(
    ("body", "media_type", "code", "advice"),
    [
        pytest.param(
            json.dumps(ASKS), NDJSON, "unknown_document", "a JSON list: send it as", id="list"
        ),
        pytest.param(
            json.dumps(ASKS, indent=2), NDJSON, "unknown_document", "a JSON list", id="pretty-list"
        ),
        pytest.param("[]", NDJSON, "unknown_document", "a JSON list", id="empty-list"),
        pytest.param(
            json.dumps({"enrollments": ASKS}), NDJSON, "unknown_document", "JSON document", id="doc"
        ),
        pytest.param(
            json.dumps({"enrollments": ASKS}, indent=1),
            NDJSON,
            "unknown_document",
            "JSON document",
            id="pretty-doc",
        ),
        pytest.param(
            json.dumps(ASKS[0], indent=1), NDJSON, "unknown_document", "JSON document", id="pretty"
        ),
        pytest.param(CSV, NDJSON, "unknown_document", "CSV: send it as text/csv", id="csv"),
        pytest.param(
            "\n\n" + CSV.replace("u", '"u"'), NDJSON, "unknown_document", "CSV: send", id="quoted"
        ),
        pytest.param(
            "email\nada@example.org\n", NDJSON, "unknown_document", "CSV: send", id="one-column"
        ),
        pytest.param(
            LINES.replace("\n", ""), NDJSON, "unknown_document", "--data-binary", id="curl-ndjson"
        ),
        pytest.param(
            LINES.replace("\n", ""),
            "text/plain",
            "unknown_document",
            "--data-binary",
            id="curl-text",
        ),
        pytest.param(CSV, JSON, "malformed_json", "CSV: send it as text/csv", id="csv-as-json"),
        pytest.param(LINES, JSON, "malformed_json", "application/x-ndjson", id="ndjson-as-json"),
        pytest.param(
            json.dumps(ASKS), CSV_TYPE, "unknown_columns", "looks like JSON", id="list-as-csv"
        ),
        pytest.param(LINES, CSV_TYPE, "unknown_columns", "looks like JSON", id="ndjson-as-csv"),
        pytest.param(
            CSV.replace("\n", ""), CSV_TYPE, "unknown_document", "--data-binary", id="curl"
        ),
        pytest.param(
            "user,course_id\n".replace("\n", "") + f"ada,{KEY}bob,{KEY}",
            CSV_TYPE,
            "unknown_document",
            "--data-binary",
            id="curl-two-columns",
        ),
        pytest.param(
            "course_id;user_id;role;statusMATH;ada;student;activeMATH;bob;student;active",
            "text/plain",
            "unknown_document",
            "--data-binary",
            id="curl-canvas",
        ),
        pytest.param(
            ("user,course_id\n" + f"ada,{KEY}\n" * 60_000).replace("\n", ""),
            CSV_TYPE,
            "unknown_document",
            "--data-binary",
            id="curl-long",
        ),
        pytest.param(XLSX.decode("latin-1"), ZIP, "unknown_document", "workbook", id="xlsx"),
        pytest.param(
            archive("mimetype", "content.xml").decode("latin-1"),
            ZIP,
            "unknown_document",
            "LibreOffice",
            id="ods",
        ),
        pytest.param(CSV, ZIP, "malformed_zip", "it looks like text", id="csv-as-zip"),
        pytest.param(
            XLSX[:200].decode("latin-1"), ZIP, "malformed_zip", "its end is missing", id="cut-off"
        ),
    ],
)
def test_a_mislabelled_text_is_refused_with_how_to_send_it(body, media_type, code, advice):
    encoding = "latin-1" if media_type == ZIP else "utf-8"

    assert message_of(body.encode(encoding), media_type)[0] == code
    assert advice in message_of(body.encode(encoding), media_type)[1]


@pytest.mark.parametrize(
    ("body", "media_type", "rows"),
    [
        pytest.param("{\n" + LINES, NDJSON, 6, id="broken-first-line"),
        pytest.param("oops, sorry\n" + LINES, NDJSON, 6, id="text-first-line"),
        pytest.param('{"a":1}{"b":2}\n' + LINES, NDJSON, 6, id="two-in-one-line"),
        pytest.param('["ada"]\n', NDJSON, 1, id="list-of-text"),
        pytest.param("5\n", NDJSON, 1, id="number"),
        pytest.param('{"user":"}{","course_id":"x"}', NDJSON, 1, id="braces-in-text"),
        pytest.param(f"ada@example.org,user17,Ada,GB,{KEY},audit", CSV_TYPE, 1, id="no-header"),
        pytest.param("add,student,user17,course9", CSV_TYPE, 1, id="moodle"),
        pytest.param(f"user,course_id\r<b>,{KEY}", CSV_TYPE, 1, id="mac-line-ends"),
    ],
)
def test_what_only_resembles_that_is_read(body, media_type, rows):
    options = FileOptions(course_id=KEY) if "@" in body else FileOptions()
    drafts = split([body.encode()], media_type=media_type, limits=Limits(), options=options)[1]

    assert sum(draft.rows for draft in drafts) == rows


@pytest.mark.parametrize(
    ("media_type", "advice"),
    [
        ("application/gzip", "Content-Encoding: gzip"),
        ("Application/X-Gzip; x=y", "Content-Encoding: gzip"),
        ("application/vnd.ms-excel", "save it as CSV UTF-8"),
        ("application/x-www-form-urlencoded", "--data-binary"),
    ],
)
def test_unsupported_media_types_come_with_advice(media_type, advice):
    assert advice in advice_for(media_type)


def test_an_unknown_media_type_has_no_advice():
    assert advice_for("image/png") == ""
