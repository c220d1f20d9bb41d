import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.encoding import i_json
from schemas.encoding.i_json import MAX_DEPTH, InvalidJson, loads

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
#: Pieces of which honest, dishonest and broken texts can be put together.
PIECES = st.lists(
    st.sampled_from(
        [
            *'{}[]:," \n',
            *[
                "a",
                "1",
                "-",
                "0",
                ".5",
                "e9",
                "1e999",
                "9" * 20,
                "null",
                "true",
                "NaN",
                "-Infinity",
            ],
            *['"a":', '"a"', '"\\u0061":1', '":"', '"\\u003a"', '"\\u0000"', '"\\ud800"'],
            *[
                '"\\ud83d\\ude00"',
                '"\\\\u0000"',
                '"\\/"',
                '"\0"',
                '"é"',
                "{}",
                "[]",
                '{"a":{"a":1}}',
            ],
        ]
    ),
    max_size=12,
).map("".join)


def outcome(read, raw):
    try:
        return read(raw)
    except InvalidJson as error:
        return str(error)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_honest_texts_mean_what_they_mean_everywhere(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)

    assert repr(loads(text.encode())) == repr(loads(text)) == repr(json.loads(text))


@given(PIECES)
@example('{"a":1,"a":":"}')
@example('{"a":":","a":1}')
@example('{"a:":1,"a":{"b":"::"}}')
def test_the_quick_way_decides_as_the_slow_one(text):
    raw = text.encode()

    assert repr(outcome(loads, raw)) == repr(outcome(i_json._parse_slowly, raw))


@given(st.binary(max_size=40) | st.text(st.characters(), max_size=20))
def test_nothing_but_not_honest_json_is_raised(data):
    outcome(loads, data)


@pytest.mark.parametrize(
    ("data", "message", "line", "column", "offset"),
    [
        pytest.param(b"", "Empty", 1, 1, 0, id="empty"),
        pytest.param(b" \n ", "Empty", 1, 1, 0, id="blank"),
        pytest.param(b'{"a": 1,\n "a": 2}', "Duplicate key 'a'", 2, 2, 10, id="duplicate"),
        pytest.param(
            b'{"a": 1, "\\u0061": 2}', "Duplicate key 'a'", 1, 10, 9, id="duplicate-escaped"
        ),
        pytest.param(
            b'[{"b": [{"a": 1, "a": 1}]}]', "Duplicate key 'a'", 1, 18, 17, id="duplicate-deep"
        ),
        pytest.param(b"[NaN]", "NaN is not a JSON value", 1, 2, 1, id="nan"),
        pytest.param(b"[-Infinity]", "-Infinity is not a JSON value", 1, 2, 1, id="infinity"),
        pytest.param(b"[1e999]", "Number out of range", 1, 2, 1, id="infinite-float"),
        pytest.param(b"[9223372036854775808]", "Integer beyond 64 bits", 1, 2, 1, id="above-int64"),
        pytest.param(
            b"[-9223372036854775809]", "Integer beyond 64 bits", 1, 2, 1, id="below-int64"
        ),
        pytest.param(
            b"[" + b"9" * 5000 + b"]", "Integer beyond 64 bits", 1, 2, 1, id="5000-digits"
        ),
        pytest.param(b'["\\u0000"]', "NUL in a string", 1, 2, 1, id="nul-escaped"),
        pytest.param(b'{"\\u0000": 1}', "NUL in a string", 1, 2, 1, id="nul-in-key"),
        pytest.param(b'["\0"]', "NUL in a string", 1, 2, 1, id="nul-raw"),
        pytest.param(b'["\\ud800"]', "Lone surrogate in a string", 1, 2, 1, id="surrogate"),
        pytest.param('["\ud800"]', "Lone surrogate", 1, 3, 2, id="surrogate-raw"),
        pytest.param(b'["ok", "\xff"]', "Not UTF-8", 1, 9, 8, id="not-utf-8"),
        pytest.param(b"[" * 21 + b"]" * 21, "Nested deeper than 20", 1, 21, 20, id="deep"),
        pytest.param(b"[" * 100_000, "Nested deeper than 20", 1, 21, 20, id="abyss"),
        pytest.param(b'{"a": 1} x', "Extra data", 1, 10, 9, id="trailing"),
        pytest.param(b'{"a": }', "Expecting value", 1, 7, 6, id="no-value"),
        pytest.param(b'["\\x"]', "Invalid \\escape", 1, 3, 2, id="bad-escape"),
        pytest.param(b"[1.2.3]", "Expecting ',' delimiter", 1, 5, 4, id="bad-number"),
        pytest.param(b"]", "Expecting value", 1, 1, 0, id="closing-only"),
    ],
)
def test_what_is_not_honest_is_refused_where_it_is(data, message, line, column, offset):
    with pytest.raises(InvalidJson) as refusal:
        loads(data)

    fault = refusal.value
    assert fault.message.startswith(message)
    assert (fault.line, fault.column, fault.offset) == (line, column, offset)
    assert str(fault).endswith(f"line {line} column {column} (char {offset})")


def test_a_byte_order_mark_is_passed_over():
    assert loads(b'\xef\xbb\xbf{"a": 1}') == loads('\ufeff{"a": 1}') == {"a": 1}


def test_twenty_levels_are_not_too_deep():
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_the_ends_of_64_bits_are_inside():
    assert loads(b"[-9223372036854775808, 9223372036854775807]") == [-(1 << 63), (1 << 63) - 1]


def test_a_string_that_never_closes_is_read_once_only():
    with pytest.raises(InvalidJson, match="Unterminated string"):
        loads(b'["' + b'\\"' * 100_000)
