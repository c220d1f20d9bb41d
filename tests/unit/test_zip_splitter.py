"""Archives: whatever is in them, they are read flat, or refused as a whole."""

import errno
import io
import json
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.files.archives.zip_splitter import MAX_ARCHIVE_HEADER_BYTES, split_archive
from schemas.files.batch_draft import FileOptions
from schemas.files.raw_rows import member_at
from schemas.files.row_payload import decode_rows
from schemas.files.source import FileTooLarge, Limits, UnreadableFile

KEY = "course-v1:edX+DemoX+Demo"
HEAD = "user,course_id\n"


def archive(files, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as out:
        for name, content in files:
            out.writestr(name, content)
    return packed


def read(packed, limits=None, wanted=None):
    head, drafts = split_archive(packed, limits or Limits(batch_rows=3), wanted or FileOptions())
    rows = []
    for draft in drafts:
        member = member_at(head.files, draft.first_line)
        decoded = list(decode_rows(draft.payload, member.encoding, member.header))
        assert len(decoded) == draft.rows
        rows += [(member.name, row.line, row.user) for row in decoded]
    return head, rows


def test_lines_are_counted_through_the_archive_however_they_end():
    ends = {"a.csv": "\r\n", "b.csv": "\r", "c.csv": "\n"}
    files = [
        (name, end.join([HEAD.strip(), f"u1,{KEY}", "", f"u2,{KEY}"])) for name, end in ends.items()
    ]
    head, rows = read(archive(reversed(files)))

    assert [(file.name, file.lines_before) for file in head.files] == [
        ("a.csv", 0),
        ("b.csv", 4),
        ("c.csv", 8),
    ]
    assert [(name, line) for name, line, _ in rows] == [
        (name, before + line)
        for name, before in (("a.csv", 0), ("b.csv", 4), ("c.csv", 8))
        for line in (2, 4)
    ]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=5))
def test_every_row_of_every_file_is_read_once_in_order(sizes):
    files = [
        (f"{n}.csv", HEAD + "".join(f"f{n}r{r},{KEY}\n" for r in range(size)))
        for n, size in enumerate(sizes)
    ]
    if not any(sizes):
        with pytest.raises(UnreadableFile, match="no request"):
            read(archive(files))
        return
    _, rows = read(archive(files))

    assert [user for _, _, user in rows] == [
        f"f{n}r{r}" for n, size in enumerate(sizes) for r in range(size)
    ]
    lines = [line for _, line, _ in rows]
    assert lines == sorted(set(lines))


def test_rows_are_counted_through_the_archive():
    files = [(f"{n}.csv", HEAD + f"u,{KEY}\n" * 3) for n in range(3)]

    assert len(read(archive(files), Limits(max_rows=9))[1]) == 9
    with pytest.raises(FileTooLarge, match="more than 8 rows"):
        read(archive(files), Limits(max_rows=8))


def test_bytes_are_counted_through_the_archive():
    files = [(f"{n}.csv", HEAD + f"u,{KEY}\n" * 3) for n in range(3)]
    size = sum(len(content) for _, content in files)

    assert read(archive(files), Limits(max_bytes=size))[1]
    with pytest.raises(FileTooLarge, match="longer than"):
        read(archive(files), Limits(max_bytes=size - 1))


def test_a_file_may_not_be_longer_than_it_says():
    packed = archive([("a.csv", HEAD + f"u,{KEY}\n" * 50)], zipfile.ZIP_STORED).getvalue()
    size = len(HEAD) + 50 * len(f"u,{KEY}\n")
    lying = packed.replace(size.to_bytes(4, "little"), (size - 10).to_bytes(4, "little"))

    with pytest.raises(UnreadableFile) as refusal:
        read(io.BytesIO(lying))
    assert refusal.value.code == "malformed_zip"


@given(st.data())
def test_a_damaged_archive_is_read_as_it_was_or_refused(data):
    files = [("a.csv", HEAD + f"ada,{KEY}\n"), ("b.csv", HEAD + f"bob,{KEY}\n")]
    good = archive(files).getvalue()
    expected = read(io.BytesIO(good))[1]
    at = data.draw(st.integers(0, len(good) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "drop"]))
    if change == "flip":
        damaged = (
            good[:at] + bytes([good[at] ^ (1 << data.draw(st.integers(0, 7)))]) + good[at + 1 :]
        )
    else:
        damaged = good[:at] if change == "cut" else good[:at] + good[at + 1 :]
    try:
        _, rows = read(io.BytesIO(damaged))
    except (UnreadableFile, FileTooLarge):
        return
    assert {(line, user) for _, line, user in rows} <= {
        (line + shift, user) for _, line, user in expected for shift in (-2, 0, 2)
    }


@pytest.mark.parametrize("spread", [None, 1])
def test_rows_of_a_json_file_are_those_of_no_other_file(spread):
    rows = json.dumps([{"user": f"j{n}", "course_id": KEY} for n in range(5)], indent=spread)
    files = [("a.json", rows), ("b.csv", HEAD + f"c0,{KEY}\n" * 2), ("c.json", rows)]
    head, found = read(archive(files))

    assert [file.lines_before for file in head.files] == [0, 5, 8]
    assert found == [
        *(("a.json", n + 1, f"j{n}") for n in range(5)),
        ("b.csv", 7, "c0"),
        ("b.csv", 8, "c0"),
        *(("c.json", n + 9, f"j{n}") for n in range(5)),
    ]


CANVAS = "course_id,user_id,role,status\nMATH,ada,student,active\n"
MOODLE = "username,course1\nada,MATH\n"
OURS = HEAD + f"ada,{KEY}\n"


def refusal_of(packed, wanted=None):
    with pytest.raises(UnreadableFile) as refusal:
        read(packed, wanted=wanted)
    return refusal.value


@pytest.mark.parametrize(
    ("texts", "said", "sources", "shared"),
    [
        pytest.param([CANVAS, CANVAS], None, ["canvas", "canvas"], "canvas", id="one"),
        pytest.param([CANVAS, MOODLE], None, ["canvas", "moodle_users"], None, id="two"),
        pytest.param([CANVAS, OURS], None, ["canvas", None], None, id="theirs-and-ours"),
        pytest.param([OURS, OURS], None, [None, None], None, id="ours"),
        pytest.param([CANVAS, MOODLE, OURS], "sis", ["sis"] * 3, "sis", id="said"),
    ],
)
def test_each_file_has_ids_of_its_own_system_unless_it_is_said_whose(texts, said, sources, shared):
    files = [(f"{number}.csv", text) for number, text in enumerate(texts)]
    head, _ = split_archive(archive(files), Limits(), FileOptions(source=said))

    assert [file.source for file in head.files] == sources
    assert head.source == shared


@pytest.mark.parametrize(
    ("manifest", "text", "format_"),
    [
        ("manifest.csv", "x,y\noneroster.version,1.1\nfile.enrollments,bulk\n", "canvas"),
        ("manifest.json", "{}", "native"),
    ],
)
def test_what_a_manifest_says_is_not_overridden_in_silence(manifest, text, format_):
    packed = archive([(manifest, text), ("enrollments.csv", CANVAS)])
    refusal = refusal_of(packed, FileOptions(format_))

    assert (refusal.code, refusal.is_malformed) == ("unknown_document", False)


@pytest.mark.parametrize(
    "manifest",
    [
        "oneroster.version,1.1\nfile.enrollments,absent\n",
        "oneroster.version,2.0\n",
        "propertyName,value\n",
    ],
)
def test_a_manifest_without_enrollments_is_refused(manifest):
    packed = archive([("manifest.csv", manifest), ("enrollments.csv", CANVAS)])

    assert refusal_of(packed).code == "unknown_document"


def test_a_file_with_rows_is_no_manifest_whatever_its_name():
    head, rows = read(archive([("manifest.csv", OURS), ("term.csv", OURS)]))

    assert [row[0] for row in rows] == ["manifest.csv", "term.csv"]
    assert head.format == "native"
    other = archive([("manifest.csv", "x,y\n1,2\n"), ("enrollments.csv", CANVAS)])
    assert "manifest.csv: the header has no course_id" in refusal_of(other).message


ONE = [("a.csv", OURS)]
STORED = archive(ONE, zipfile.ZIP_STORED).getvalue()
ENTRY = STORED.index(b"PK\x01\x02")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"PK\x03\x04nothing", "malformed_zip", id="no-end"),
        pytest.param(b"", "malformed_zip", id="nothing"),
        pytest.param(STORED.replace(b"user,", b"Xser,"), "malformed_zip", id="damaged"),
        pytest.param(
            STORED[: ENTRY + 8] + b"\x01" + STORED[ENTRY + 9 :], "malformed_zip", id="encrypted"
        ),
        pytest.param(
            STORED[:-22] + b"PK\x06\x07" + b"\0" * 16 + STORED[-22:], "malformed_zip", id="zip64"
        ),
        pytest.param(STORED[:-6] + b"\xff\xff\0\0\0\0", "malformed_zip", id="before-itself"),
    ],
)
def test_an_archive_that_is_damaged_is_refused(body, code):
    assert refusal_of(io.BytesIO(body)).code == code


@pytest.mark.parametrize(
    ("files", "code"),
    [
        pytest.param([("../a.csv", "x")], "malformed_zip", id="outside"),
        pytest.param([("/a.csv", "x")], "malformed_zip", id="root"),
        pytest.param([("a\n.csv", "x")], "malformed_zip", id="name"),
        pytest.param([], "empty", id="no-files"),
        pytest.param([("a.csv", HEAD)], "empty", id="header-only"),
        pytest.param([("a.exe", "x")], "unknown_document", id="what-is-it"),
        pytest.param([("a.zip", "x")], "unknown_document", id="in-each-other"),
        pytest.param([*ONE, ("b.csv", "x,y\n1,2\n")], "unknown_columns", id="one-bad"),
        pytest.param([("a.csv", HEAD + "\0")], "not_text", id="no-text"),
    ],
)
def test_an_archive_of_files_that_cannot_be_read_is_refused(files, code):
    assert refusal_of(archive(files)).code == code


@pytest.mark.parametrize("number", [101, 25_000])
def test_an_archive_has_a_hundred_files_at_most(number):
    with pytest.raises(FileTooLarge, match="100 files"):
        read(archive([(f"{n}.csv", "") for n in range(number)]))


def test_names_and_headers_are_bounded():
    long = archive([("a" * 251 + ".csv", HEAD + f"u,{KEY}\n")])
    assert read(long)[1]
    longer = archive([("a" * 252 + ".csv", HEAD + f"u,{KEY}\n")])
    assert refusal_of(longer).code == "unknown_document"

    wide = f"user,course_id,{'x' * (MAX_ARCHIVE_HEADER_BYTES // 3)}\nu,{KEY},\n"
    assert read(archive([(f"{n}.csv", wide) for n in range(2)]))[1]
    refusal = refusal_of(archive([(f"{n}.csv", wide) for n in range(3)]))
    assert (refusal.code, refusal.is_malformed) == ("unknown_document", False)


def hostile(change):
    """An archive of one file whose entry in the list of files is changed."""
    packed = bytearray(archive([("a.csv", HEAD + f"u,{KEY}\n")]).getvalue())
    at = packed.index(b"PK\x01\x02")
    return io.BytesIO(bytes(change(packed, at)))


def nameless(packed, at):
    size = int.from_bytes(packed[-10:-6], "little") - len("a.csv")
    packed[-10:-6] = size.to_bytes(4, "little")
    packed[at + 28 : at + 30] = bytes(2)
    del packed[at + 46 : at + 46 + len("a.csv")]
    return packed


def named_nul(packed, at):
    packed[at + 46] = 0
    return packed


def named_to_nul(packed, at):
    packed[at + 50] = 0
    return packed


def before_its_beginning(packed, _):
    there = int.from_bytes(packed[-6:-2], "little") + 1_000
    packed[-6:-2] = there.to_bytes(4, "little")
    return packed


@pytest.mark.parametrize("change", [nameless, named_nul, named_to_nul, before_its_beginning])
def test_what_the_library_stumbles_over_is_refused(change):
    assert refusal_of(hostile(change)).code == "malformed_zip"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_of_the_disk_is_none_of_the_archive(monkeypatch, number):
    def failing(*_):
        raise OSError(number, "disk")

    packed = archive([("a.csv", HEAD + f"u,{KEY}\n")])
    monkeypatch.setattr(zipfile.ZipFile, "open", failing)
    with pytest.raises(OSError, match="disk"):
        read(packed)


def test_memory_stays_flat_however_many_files_there_are():
    rows = "".join(f"learner{n:07},{KEY}\n" for n in range(20_000))
    packed = archive([(f"{n:02}.csv", HEAD + rows) for n in range(20)])

    head, drafts = split_archive(packed, Limits(batch_rows=1_000))
    tracemalloc.start()
    total = sum(draft.rows for draft in drafts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (len(head.files), total) == (20, 400_000)
    assert peak < 8_000_000
