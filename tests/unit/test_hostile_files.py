"""Files that nobody means well with: every one is read to its end, or refused, in bounded work."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.files.row_payload import decode_rows
from schemas.files.source import FileTooLarge, Limits, UnreadableFile, gunzip
from schemas.files.splitter import format_of, split

KEY = "course-v1:edX+DemoX+Demo"
TYPES = ["text/csv", "text/plain", "application/x-ndjson", "application/json"]
LIMITS = Limits(max_bytes=5_000, max_rows=500, batch_rows=3, batch_bytes=500)


class Chunks:
    """The chunks of a text, which counts how many were taken."""

    def __init__(self, data, size):
        self._data, self._size, self.taken = data, size, 0

    def __iter__(self):
        for start in range(0, len(self._data), self._size):
            self.taken += 1
            yield self._data[start : start + self._size]


def rows_of(data, media_type="text/csv", limits=LIMITS, size=7):
    chunks = Chunks(data, size)
    head, drafts = split(chunks, media_type=media_type, limits=limits)
    rows = [
        row for draft in drafts for row in decode_rows(draft.payload, head.encoding, head.header)
    ]
    assert chunks.taken <= 5 * (len(data) // size + 1)
    return rows


# --- headers ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_header_whose_quote_never_closes_is_refused_in_the_shortest_file(end):
    with pytest.raises(UnreadableFile) as refusal:
        rows_of(f'user,"course_id{end}'.encode())

    assert (refusal.value.code, refusal.value.line) == ("unclosed_quotes", 1)
    assert refusal.value.is_malformed


@pytest.mark.parametrize("following", range(22))
def test_a_header_whose_quote_never_closes_is_refused_whatever_follows(following):
    data = '\n\nuser,"course_id\n' + f"ada,{KEY}\n" * following

    with pytest.raises(UnreadableFile) as refusal:
        rows_of(data.encode())

    assert (refusal.value.code, refusal.value.line) == ("unclosed_quotes", 3)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_a_quote_inside_of_a_name_opens_nothing(mark):
    data = mark.join(["user", "course_id", 'size 5"']) + "\n" + mark.join(["ada", KEY, "x"]) + "\n"

    assert [row.request.username for row in rows_of(data.encode())] == ["ada"]


def test_a_header_may_have_line_ends_in_its_names():
    data = f'"two\nlines";user;course_id\nx;ada;{KEY}\n'

    assert [(row.line, row.request.username) for row in rows_of(data.encode())] == [(3, "ada")]


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("length", [131_050, 131_073, 200_000])
def test_a_header_without_measure_is_refused_where_it_begins(quote, length):
    data = f"\nuser,course_id,{quote}{'x' * length}{quote}\nada,{KEY}\n".encode()
    limits = Limits()

    if length < 131_072:
        assert len(rows_of(data, limits=limits, size=100_000)) == 1
        return
    with pytest.raises(UnreadableFile) as refusal:
        rows_of(data, limits=limits, size=100_000)
    assert (refusal.value.code, refusal.value.line) == ("unknown_columns", 2)


# --- anything -----------------------------------------------------------------------------

PIECES = st.lists(
    st.sampled_from(
        [
            *("user", "course_id", KEY, "ada", '"user"', "true", "1"),
            *(",", ";", "\t", '"', '""', "\n", "\r", "\r\n", " ", "'"),
            *("{", "}", "[", "]", ":", "\ufeff", "\x85", "\u2028", "é", "\0"),
        ]
    ),
    max_size=60,
).map(lambda pieces: "".join(pieces).encode())
HEADED = st.builds(
    bytes.__add__, st.sampled_from([b"user,course_id\n", b'user,"course_id']), PIECES
)
ANYTHING = st.text(max_size=200).map(str.encode) | st.binary(max_size=200) | PIECES | HEADED
CHARSETS = st.sampled_from(["", "; charset=utf-8", "; charset=cp1252"])


@given(ANYTHING, st.sampled_from(TYPES), CHARSETS, st.integers(1, 9))
def test_whatever_comes_is_read_to_its_end_or_refused(data, media_type, charset, size):
    try:
        rows = rows_of(data, media_type + charset, size=size)
    except (UnreadableFile, FileTooLarge):
        return
    assert 0 < len(rows) <= len(data)
    assert all((row.request is None) == bool(row.findings) for row in rows)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_whatever_comes_as_gzip_is_unpacked_to_its_end_or_refused(data, cut):
    for packed in (data, gzip.compress(data)[:-cut], gzip.compress(data) + data):
        try:
            size = len(b"".join(gunzip([packed[:cut], packed[cut:]], LIMITS)))
        except (UnreadableFile, FileTooLarge):
            continue
        assert size <= LIMITS.max_bytes


def test_a_gzip_of_many_small_members_comes_in_large_pieces():
    packed = b"".join(gzip.compress(b"x") for _ in range(20_000))

    pieces = list(gunzip([packed[:100_000], packed[100_000:]], Limits()))

    assert b"".join(pieces) == b"x" * 20_000
    assert len(pieces) <= 2


# --- declared encodings -------------------------------------------------------------------


@pytest.mark.parametrize("charset", ["utf-16", "utf-7", "shift_jis", "koi8-r", "utf-8x", "\0"])
@pytest.mark.parametrize("media_type", TYPES)
def test_what_is_declared_in_another_encoding_is_not_read(media_type, charset):
    assert format_of(f"{media_type}; header=present; Charset={charset}") is None


@pytest.mark.parametrize("charset", ["UTF-8", '"utf-8"', "us-ascii", "CP1252", "iso-8859-1", ""])
@pytest.mark.parametrize("media_type", TYPES)
def test_what_is_declared_in_an_encoding_that_is_read_is_read(media_type, charset):
    assert format_of(f"{media_type};charset={charset}") is not None


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("text/csv", f"user,course_id\nzÃª,{KEY}\n"),
        ("application/x-ndjson", f'{{"user":"zÃª","course_id":"{KEY}"}}\n'),
        ("application/json", f'[{{"user":"zÃª","course_id":"{KEY}"}}]'),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_declared_encoding_goes_before_the_one_that_it_looks_like(media_type, text, size):
    """The bytes are UTF-8 for another name; who declares CP1252 means the name as written."""
    data = text.encode("cp1252")

    rows = rows_of(data, f"{media_type}; charset=windows-1252", size=size)

    assert [row.request.username for row in rows] == ["zÃª"]
