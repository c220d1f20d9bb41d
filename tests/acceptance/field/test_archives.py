"""Archives as ordinary programs and systems make them."""

import io
import struct
import zipfile

import pytest

from tests.support.field_client import zipped
from tests.support.service_processes import needs_proc

pytestmark = needs_proc

TERM = "user,course_id\nkai{{T}},{{C1}}\n"
ZIP = "application/zip"
CANVAS_EXPORT = {
    "users.csv": "user_id,login_id,first_name,last_name,email,status\n"
    "ada{{T}},ada{{T}},Ada,Brandt,ada{{T}}@example.org,active\n",
    "courses.csv": "course_id,short_name,long_name,account_id,term_id,status\n"
    "MATH-101,Math,Mathematics 101,,2026A,active\n",
    "sections.csv": "section_id,course_id,name,status\nMATH-101.A,MATH-101,Section A,active\n",
    "enrollments.csv": "course_id,user_id,role,section_id,status\n"
    "MATH-101,ada{{T}},student,MATH-101.A,active\n",
}


class NoSeek(io.RawIOBase):
    """A pipe: what was written cannot be changed."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)


def piped(name, text):
    """Returns an archive that was written to a pipe, with the sizes behind the content."""
    pipe = NoSeek()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as out, out.open(name, "w") as file:
        file.write(text)
    return bytes(pipe.data)


def with_zip64(name, text):
    """Returns an archive with the sizes in ZIP64 records, as streaming writers make them."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out,
        out.open(name, "w", force_zip64=True) as file,
    ):
        file.write(text)
    return packed.getvalue()


def with_zip64_ending(name, text):
    """Returns an archive whose central directory has ZIP64 records of its sizes and its end."""
    local = b"PK\3\4" + struct.pack(
        "<5H3L2H", 45, 0, 0, 0, 0x21, zipfile.crc32(text), *[len(text)] * 2, len(name), 0
    )
    extra = struct.pack("<2H3Q", 1, 24, len(text), len(text), 0)
    entry = b"PK\1\2" + struct.pack(
        "<6H3L5H2L", 45, 45, 0, 0, 0, 0x21, zipfile.crc32(text), *[0xFFFFFFFF] * 2,
        len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF,
    )  # fmt: skip
    content, directory = local + name + text, entry + name + extra
    end64 = b"PK\6\6" + struct.pack(
        "<Q2H2L4Q", 44, 45, 45, 0, 0, 1, 1, len(directory), len(content)
    )
    locator = b"PK\6\7" + struct.pack("<LQL", 0, len(content) + len(directory), 1)
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)
    return content + directory + end64 + locator + end


def test_a_canvas_export_is_read_and_its_other_files_are_named(field):
    files = {name: field.fill(text) for name, text in CANVAS_EXPORT.items()}

    sent = field.send(zipped(files), ZIP)

    assert (sent.said, sent.submission["format"]) == (["enrolled"], "canvas")
    named = {file["name"]: file for file in sent.submission["files"]}
    assert named.keys() == CANVAS_EXPORT.keys()
    assert {name for name, file in named.items() if file.get("passed_over")} == {
        "courses.csv",
        "sections.csv",
        "users.csv",
    }
    assert named["enrollments.csv"]["rows"] == 1
    assert field.is_enrolled("ada{{T}}")


def test_an_export_without_enrollments_is_refused(field):
    files = {name: text for name, text in CANVAS_EXPORT.items() if name != "enrollments.csv"}

    assert field.post(zipped(files), ZIP).status_code == 422


@pytest.mark.parametrize("name", ["export\\term.csv", "a\\b\\term.csv"])
def test_backslashes_separate_folders(field, name):
    sent = field.send(zipped({name: field.fill(TERM)}), ZIP)

    assert sent.said == ["enrolled"]
    assert field.is_enrolled("kai{{T}}")


@pytest.mark.parametrize(
    "name", ["..\\term.csv", "a\\..\\..\\term.csv", "../term.csv", "\\term.csv", "C:\\term.csv"]
)
def test_names_that_lead_elsewhere_are_never_read(field, name):
    answer = field.post(zipped({name: field.fill(TERM)}), ZIP)

    assert answer.status_code in {400, 422}
    assert field.is_enrolled("kai{{T}}") is None


BESIDE = ["Thumbs.db", "desktop.ini", "~$x.xlsx", "README.txt", ".DS_Store", "__MACOSX/._term.csv"]


@pytest.mark.parametrize("beside", [*([name] for name in BESIDE), BESIDE], ids=str)
def test_what_systems_leave_in_a_folder_is_passed_over(field, beside):
    files = {
        "term.csv": field.fill(TERM),
        **dict.fromkeys(beside, "Made on Monday, not a table.\n"),
    }

    assert field.send(zipped(files), ZIP).said == ["enrolled"]


@pytest.mark.parametrize(
    "pack", [with_zip64, with_zip64_ending, piped], ids=["zip64", "zip64 ending", "pipe"]
)
def test_archives_of_streaming_writers_are_read(field, pack):
    name = b"term.csv" if pack is with_zip64_ending else "term.csv"

    sent = field.send(pack(name, field.fill(TERM).encode()), ZIP)

    assert sent.said == ["enrolled"]


def test_an_archive_made_of_a_pipe_is_read(field):
    """`zip -` calls what it read from a pipe `-`."""
    assert field.send(with_zip64("-", field.fill(TERM).encode()), ZIP).said == ["enrolled"]
