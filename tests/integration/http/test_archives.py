"""Archives and mislabelled bodies over HTTP: what is read, what is named, what is refused."""

import gzip
import io
import zipfile

import pytest

from tests.support.gateway import AUDIT, fresh

ZIP = "application/zip"


def archive(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return packed.getvalue()


def post(gateway, body, content_type=ZIP, **more):
    headers = {"Content-Type": content_type, **more.pop("headers", {})}
    return gateway.post("submissions", gateway.admin, body=body, headers=headers, **more)


def told(gateway, status):
    path = status.json["links"]["outcomes"]
    return [
        (one["file"], one["file_line"], one["user"], one["outcome"])
        for one in gateway.get(path, gateway.admin).json["outcomes"]
    ]


def canvas_export(ada):
    return {
        "users.csv": "user_id,login_id,first_name,last_name,email,status\n"
        f"{ada},{ada},Ada,Brandt,{ada}@example.org,active\n",
        "courses.csv": "course_id,short_name,long_name,account_id,term_id,status\n"
        "MATH-101,Math,Mathematics 101,,2026A,active\n",
        "sections.csv": "section_id,course_id,name,status\nMATH-101.A,MATH-101,A,active\n",
    }


def test_a_canvas_export_is_read_whole_and_its_siblings_are_named(gateway):
    name, course_id, ada = fresh("source"), gateway.course(AUDIT), fresh("u")
    entry = {"kind": "course", "theirs": "MATH-101", "ours": course_id}
    assert gateway.call("PUT", f"crosswalks/{name}", gateway.admin, json=[entry]).json["saved"] == 1
    text = f"course_id,user_id,role,section_id,status\nMATH-101,{ada},student,MATH-101.A,active\n"
    body = archive({**canvas_export(ada), "enrollments.csv": text})

    status = gateway.submit(body, content_type=ZIP, query_string=f"source={name}")

    assert (status.json["format"], status.json["result"]) == ("canvas", "succeeded")
    assert told(gateway, status) == [("enrollments.csv", 2, ada, "enrolled")]
    read, *siblings = status.json["files"]
    assert (read["name"], read["format"], read["rows"]) == ("enrollments.csv", "canvas", 1)
    assert siblings == [
        {"name": name, "passed_over": "a file of canvas without enrollments"}
        for name in ("courses.csv", "sections.csv", "users.csv")
    ]


def test_an_export_without_enrollments_is_refused(gateway):
    answer = post(gateway, archive(canvas_export("ada")))

    assert (answer.status_code, answer.json["code"]) == (422, "empty")
    assert "add the file of enrollments" in answer.json["detail"]


def test_rows_of_each_file_are_counted(small):
    course_id = small.course(AUDIT)
    rows = [f"{fresh('u')},{course_id}\n" for _ in range(10)]
    head = "user,course_id\n"
    body = archive({"a.csv": head + "".join(rows[:7]), "b.csv": head, "c.csv": head + rows[8]})

    status = small.submit(body, content_type=ZIP)

    assert [(it["name"], it.get("rows"), it.get("passed_over")) for it in status.json["files"]] == [
        ("a.csv", 7, None),
        ("c.csv", 1, None),
        ("b.csv", None, "it has no row"),
    ]
    assert status.json["counts"]["total"] == 8


def test_a_submission_without_an_archive_has_no_files(gateway):
    body = f"user,course_id\n{fresh('u')},{gateway.course(AUDIT)}\n"

    assert post(gateway, body, "text/csv").json["files"] is None


def test_an_archive_of_windows_is_read(gateway):
    user, course_id = fresh("u"), gateway.course(AUDIT)
    noise = {
        "export\\Thumbs.db": b"\xd0\xcf",
        "desktop.ini": "[x]",
        "~$x.xlsx": "",
        "README.txt": "",
    }
    body = archive({"export\\term.csv": f"user,course_id\n{user},{course_id}\n", **noise})

    status = gateway.submit(body, content_type=ZIP)

    assert told(gateway, status) == [("export/term.csv", 2, user, "enrolled")]
    outside = archive({"..\\term.csv": f"user,course_id\n{user},{course_id}\n"})
    assert post(gateway, outside).status_code == 400


def test_files_of_several_formats_are_mixed(gateway):
    user, course_id = fresh("u"), gateway.course(AUDIT)
    canvas = f"course_id,user_id,role,status\n{course_id},{user},student,active\n"
    body = archive({"a.csv": canvas, "b.csv": f"user,course_id\n{user},{course_id}\n"})

    status = gateway.submit(body, content_type=ZIP)

    assert status.json["format"] == "mixed"
    assert [it["format"] for it in status.json["files"]] == ["canvas", "native"]
    assert [outcome for *_, outcome in told(gateway, status)] == ["enrolled", "unchanged"]


CSV = "user,course_id\n" + "".join(f"u{n},course-v1:A+B+C\n" for n in range(3))
XLSX = archive({"[Content_Types].xml": "x", "xl/workbook.xml": "x"})


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code", "advice"),
    [
        pytest.param(
            gzip.compress(CSV.encode(), mtime=0), "text/csv", 400, "not_text", "Content-Encoding"
        ),
        pytest.param(
            gzip.compress(CSV.encode(), mtime=0),
            "application/gzip",
            415,
            "unsupported_media_type",
            "Content-Encoding: gzip",
        ),
        pytest.param(XLSX, "text/csv", 400, "not_text", "save it as CSV UTF-8"),
        pytest.param(XLSX, ZIP, 422, "unknown_document", "an Excel workbook"),
        pytest.param('[{"user": "x"}]', "application/x-ndjson", 422, "unknown_document", "JSON"),
        pytest.param(CSV, "application/x-ndjson", 422, "unknown_document", "text/csv"),
        pytest.param(CSV, "application/json", 400, "malformed_json", "text/csv"),
        pytest.param(
            CSV.replace("\n", ""), "text/csv", 422, "unknown_document", "curl --data-binary"
        ),
        pytest.param(
            CSV.replace("\n", ""),
            "application/x-www-form-urlencoded",
            415,
            "unsupported_media_type",
            "curl --data-binary",
        ),
        pytest.param(CSV.encode("utf-16"), "text/csv", 400, "not_text", "UTF-16"),
        pytest.param("%PDF-1.7", "text/csv", 400, "not_text", "PDF"),
        pytest.param("user,course_id\n" + "\n" * 20_000, "text/csv", 413, None, "without content"),
    ],
)
def test_a_body_that_is_something_else_is_refused_with_advice(
    gateway, body, content_type, status, code, advice
):
    answer = post(gateway, body, content_type)

    assert answer.status_code == status
    assert code is None or answer.json["code"] == code
    assert advice in answer.json["detail"]
