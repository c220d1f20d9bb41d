"""Archives: whatever is in them, they are read flat, or refused as a whole."""

import io
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.archives import split_archive
from schemas.files import Limits, TooLarge, Unreadable, Wanted
from schemas.payloads import decode_rows
from schemas.sent import member_at

KEY = "course-v1:edX+DemoX+Demo"
HEAD = "user,course_id\n"


def archive(files, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as out:
        for name, content in files:
            out.writestr(name, content)
    return packed


def read(packed, limits=None, wanted=None):
    head, drafts = split_archive(packed, limits or Limits(batch_rows=3), wanted or Wanted())
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
        with pytest.raises(Unreadable, match="not one request"):
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
    with pytest.raises(TooLarge, match="more than 8 rows"):
        read(archive(files), Limits(max_rows=8))


def test_bytes_are_counted_through_the_archive():
    files = [(f"{n}.csv", HEAD + f"u,{KEY}\n" * 3) for n in range(3)]
    size = sum(len(content) for _, content in files)

    assert read(archive(files), Limits(max_bytes=size))[1]
    with pytest.raises(TooLarge, match="longer than"):
        read(archive(files), Limits(max_bytes=size - 1))


def test_a_file_may_not_be_longer_than_it_says():
    packed = archive([("a.csv", HEAD + f"u,{KEY}\n" * 50)], zipfile.ZIP_STORED).getvalue()
    size = len(HEAD) + 50 * len(f"u,{KEY}\n")
    lying = packed.replace(size.to_bytes(4, "little"), (size - 10).to_bytes(4, "little"))

    with pytest.raises(Unreadable) as refusal:
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
    except (Unreadable, TooLarge):
        return
    assert {(line, user) for _, line, user in rows} <= {
        (line + shift, user) for _, line, user in expected for shift in (-2, 0, 2)
    }


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
