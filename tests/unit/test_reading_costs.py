"""What reading a file may cost: blank lines, decompression, memory and CPU time are bounded."""

import gzip
import io
import itertools
import json
import tracemalloc
import zipfile

import pytest

from schemas.files.archives.zip_splitter import split_archive
from schemas.files.batch_draft import BLANK_LINES_PER_ROW, MAX_BLANK_LINES
from schemas.files.row_payload import decode_rows
from schemas.files.source import (
    LARGE_BYTES,
    MAX_LARGE_RATIO,
    MAX_RATIO,
    CpuBudget,
    FileTooLarge,
    Limits,
    SpooledSource,
    check_ratio,
)
from schemas.files.splitter import split

KEY = "course-v1:edX+DemoX+Demo"
ROW = f"ada,{KEY}\n"
JSON_ROW = json.dumps({"user": "ada", "course_id": KEY}) + "\n"
#: Media type, what stands before the rows, a row, and a line without content.
KINDS = [
    pytest.param("text/csv", "user,course_id\n", ROW, "\n", id="plain"),
    pytest.param("text/csv", "user,course_id\n", ROW, " ,\r\n", id="delimiter"),
    pytest.param("text/csv", "user,course_id\n", ROW, '""\n', id="quoted"),
    pytest.param("text/csv", "user,course_id\n", ROW, '"",""\n', id="two-quoted"),
    pytest.param("text/csv", "username,course1\n", "ada,MATH\n", "\n", id="counted"),
    pytest.param("application/x-ndjson", "", JSON_ROW, "\n", id="ndjson"),
]


def drafts_of(text, media_type="text/csv", limits=None):
    limits = limits or Limits()
    chunks = SpooledSource(io.BytesIO(text.encode()), limits)
    return split(chunks, media_type=media_type, limits=limits)


def peak_of(text, media_type):
    """Splits a text; returns the peak of traced memory, and the error if there was one."""
    file = io.BytesIO(text.encode())
    limits = Limits(max_rows=10_000_000)
    tracemalloc.start()
    try:
        chunks = SpooledSource(file, limits)
        for _ in split(chunks, media_type=media_type, limits=limits)[1]:
            continue
        error = None
    except FileTooLarge as raised:
        error = str(raised)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, error


@pytest.mark.parametrize(("media_type", "head", "row", "blank"), KINDS)
def test_lines_without_content_alone_are_refused_before_they_cost(media_type, head, row, blank):
    text = head + row + blank * (4_000_000 // len(blank))

    peak, error = peak_of(text, media_type)

    assert error is not None
    assert "lines without content, and " in error
    assert peak < 12_000_000


@pytest.mark.parametrize(("media_type", "head", "row", "blank"), KINDS)
def test_lines_without_content_between_rows_are_read_in_flat_memory(media_type, head, row, blank):
    part = blank * BLANK_LINES_PER_ROW + row
    peaks = [peak_of(head + part * number, media_type) for number in (8_000, 16_000)]

    assert [error for _, error in peaks] == [None, None]
    assert peaks[1][0] < peaks[0][0] + 3_000_000


@pytest.mark.parametrize("blank", ["\n", ",\n", '""\n', '"\n"\n'])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_dropped_lines_keep_the_numbers_of_the_others(blank, before):
    text = "user,course_id\n" + ROW * before + blank * 5 + "bob," + KEY + "\n" + blank
    head, drafts = drafts_of(text, limits=Limits(batch_rows=1))

    lines = [
        row.line
        for draft in drafts
        for row in decode_rows(draft.payload, head.encoding, head.header)
    ]

    assert lines == [*range(2, before + 2), before + 2 + 5 * blank.count("\n")]


@pytest.mark.parametrize("extra", [0, 1_000])
def test_blank_lines_are_allowed_up_to_their_number(extra):
    blank = MAX_BLANK_LINES + BLANK_LINES_PER_ROW + extra
    text = "user,course_id\n" + ROW + "\n" * blank + ROW

    if not extra:
        assert sum(draft.rows for draft in drafts_of(text)[1]) == 2
        return
    with pytest.raises(FileTooLarge, match="lines without content, and 1 rows"):
        list(drafts_of(text)[1])


def test_blank_lines_before_the_header_are_bounded():
    with pytest.raises(FileTooLarge, match="without content"):
        drafts_of("\n" * (MAX_BLANK_LINES + 1) + "user,course_id\n" + ROW)


def test_a_long_run_of_lines_without_content_ends_a_batch():
    rows, blank = 30_000, 250_000
    text = "user,course_id\n" + ROW * rows + '""\n' * blank + ROW
    sizes = [draft.rows for draft in drafts_of(text, limits=Limits(batch_rows=20_000))[1]]

    assert sum(sizes) == rows + 1
    assert sizes[1:] == [10_000, 1]


# --- decompression ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unpacked", "packed", "refused"),
    [
        pytest.param(1_000_000, 1, None, id="small"),
        pytest.param(2_000_001, 10_000, f"{MAX_RATIO} times", id="bomb"),
        pytest.param(2_000_000, 10_000, None, id="similar-rows"),
        pytest.param(510_000_000, 6_100_000, None, id="two-million-similar-rows"),
        pytest.param(1_000_000_000, 5_000_000, f"{MAX_LARGE_RATIO} times", id="long-bomb"),
        pytest.param(LARGE_BYTES + MAX_LARGE_RATIO * 5_000_000, 5_000_000, None, id="edge"),
    ],
)
def test_what_a_packed_file_may_become(unpacked, packed, refused):
    if refused is None:
        check_ratio(unpacked, packed, "the file")
        return
    with pytest.raises(FileTooLarge, match=refused):
        check_ratio(unpacked, packed, "the file")


def test_a_real_file_of_similar_rows_is_unpacked():
    attribute = '{""namespace"": ""credit"", ""name"": ""provider_id"", ""value"": ""org""}'
    attributes = f'"[{attribute}, {attribute}]"'
    rows = "".join(f"learner{n:07},{KEY},credit,{attributes}\n" for n in range(40_000))
    packed = gzip.compress(f"user,course_id,mode,enrollment_attributes\n{rows}".encode())
    assert len(rows) > 50 * len(packed)
    chunks = SpooledSource(io.BytesIO(packed), Limits(), gzip=True)

    assert sum(draft.rows for draft in split(chunks, media_type="text/csv", limits=Limits())[1])


# --- CPU time -----------------------------------------------------------------------------


def test_the_cpu_time_grows_with_the_bytes():
    limits = Limits(base_cpu_seconds=1.0, cpu_seconds_per_megabyte=1.0)
    clock = itertools.count(0, 2)  # two seconds for each chunk
    budget = CpuBudget(limits, lambda: float(next(clock)))

    assert len(list(budget.metered([bytes(1_000_000)] * 1))) == 1
    with pytest.raises(FileTooLarge, match="more than 3 seconds of processor time"):
        list(budget.metered([bytes(1_000_000)] * 2))


SPENT = Limits(base_cpu_seconds=0.0, cpu_seconds_per_megabyte=0.0)
LONG = "user,course_id\n" + ROW * 20_000


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_takes_too_much_cpu_time_is_refused(packed):
    body = gzip.compress(LONG.encode()) if packed else LONG.encode()
    chunks = SpooledSource(io.BytesIO(body), SPENT, gzip=packed)

    with pytest.raises(FileTooLarge, match="processor time"):
        list(split(chunks, media_type="text/csv", limits=SPENT)[1])


def test_a_file_of_an_archive_that_takes_too_much_cpu_time_is_refused():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.csv", LONG)

    with pytest.raises(FileTooLarge, match="processor time"):
        list(split_archive(packed, SPENT)[1])
