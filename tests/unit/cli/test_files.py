"""Files that commands read: what is in them is told from the content."""

import gzip
import io
import os
import threading
import zipfile

import pytest

from api_gateway.cli.exit_codes import FileRefused
from api_gateway.cli.remote.files import detect
from tests.support.scripted_server import QUEUED, Answer

CSV, JSON, NDJSON = "text/csv", "application/json", "application/x-ndjson"


def workbook():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return file.getvalue()


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("enrollments.csv", "user\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "contents", "media_type"),
    [
        ("a.csv", b"user,course_id\n", CSV),
        ("a.TSV", b"user\tcourse_id\n", CSV),
        ("a", b"user,course_id\n", CSV),
        ("a", b"", CSV),
        ("a.txt", b"user;course_id\n", CSV),
        ("a", b'\xef\xbb\xbf [{"user": "ada"}]', JSON),
        ("a", b'{"enrollments": [{"user": "ada"}]}', JSON),
        ("a", b'{\n"enrollments": []}', JSON),
        ("a", b'{"user": "ada"}', NDJSON),
        ("a", b'{"user": "ada"}\n{"user": "bob"}\n', NDJSON),
        ("a", b'{"courses": []}\n{"user": "bob"}\n', NDJSON),
        ("a.json", b'{"user": "ada"}', JSON),
        ("a.json", b"user,course_id\n", JSON),
        ("a.ndjson", b'{"user": "ada"}', NDJSON),
        ("a.b.jsonl", b'{"enrollments": []}', NDJSON),
        ("a.ndjson", b"[]", JSON),
        ("a.csv", archive(), "application/zip"),
    ],
)
def test_what_a_file_is(tmp_path, name, contents, media_type):
    (tmp_path / name).write_bytes(contents)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(contents))

    plain, unpacked = detect(tmp_path / name, name), detect(packed, packed.name)

    assert plain.headers() == {"Content-Type": media_type}
    assert unpacked.headers() == {"Content-Type": media_type, "Content-Encoding": "gzip"}


def test_a_damaged_gzip_is_left_to_the_service(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(b"\x1f\x8bnonsense")

    assert detect(tmp_path / "a.csv.gz", "a.csv.gz").is_gzip


def test_a_workbook_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "a.csv").write_bytes(workbook())

    with pytest.raises(FileRefused, match="save the sheet as CSV"):
        detect(tmp_path / "a.csv", "a.csv")


def test_standard_input_is_sent(enroll, service):
    service.on("POST", "/submissions", Answer(503), Answer(202, QUEUED))

    result = enroll(
        "submit", "-", "--no-wait", "--url", service.url, input="user,course_id\nada,c\n"
    )

    assert result.exit_code == 0, result.output
    assert [heard.body for heard in service.heard] == [b"user,course_id\nada,c\n"] * 2
    assert service.heard[0].headers["content-type"] == CSV


def test_a_pipe_is_sent(enroll, service, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    service.on("POST", "/submissions", Answer(202, QUEUED))
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"[]",))
    writer.start()

    enroll("submit", tmp_path / "pipe", "--no-wait", "--url", service.url)
    writer.join()

    assert (service.heard[0].body, service.heard[0].headers["content-type"]) == (b"[]", JSON)


def test_who_writes_a_file_says_so(enroll, service, tmp_path):
    service.on("GET", "/crosswalks/canvas", Answer(200, b"kind,theirs,ours\r\n"))
    file = tmp_path / "ids.csv"

    result = enroll("crosswalks", "show", "canvas", "-o", file, "--url", service.url)

    assert result.stderr == f"Written: {file} (18 bytes).\n"
    assert file.read_bytes() == b"kind,theirs,ours\r\n"
