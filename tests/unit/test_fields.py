"""Single values that cross the border: moments, names, e-mails, texts."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import fields
from schemas.fields import TimestampField, is_storable, parse_email, parse_timestamp, parse_username
from schemas.findings import display_value

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


@given(
    st.datetimes(
        min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29),  # noqa: DTZ001
        timezones=st.integers(-14 * 60 + 1, 14 * 60 - 1).map(lambda m: timezone(timedelta(minutes=m))),
    )
)  # fmt: skip
def test_every_moment_is_read_as_it_was_written(moment):
    assert parse_timestamp(moment.isoformat()) == moment
    assert parse_timestamp(moment.isoformat()).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2026-09-01T12:00:00z",
        "2026-09-01 12:00Z",
        "2026-09-01t14:00+0200",
        "2026-09-01T12:00:00.0000009Z",
    ],
)
def test_moments_are_read_in_their_usual_forms(text):
    assert parse_timestamp(text) == NOON


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-09-01", "2026-09-01T12:00:00", "2026-02-30T12:00:00Z", "2026-W36-2T12:00Z",
        "20260901T120000Z", "2026-09-01T25:00Z", "2026-09-01T12:00:60Z", "0001-01-01T00:00:00+10:00",
        "2026-09-01T12:00:00Z\n", "٢٠٢٦-09-01T12:00:00Z", "1788264000", "2026-W36-2T12:00:00Z",
        "2026-09-01T12:00:00,5Z", "2026-09-01T12Z", "2026-09-01x12:00:00Z", "2026-09-01T12:00:00+02",
        "2026-09-01T12:00:00+02:00:30", "2026-09-01T12:00:00.Z", "2026-09-01T12:00:00.1234567xZ",
        "2026-09-01T12:00:00." + "0" * 44 + "Z",
    ],
)  # fmt: skip
def test_what_is_no_moment_with_its_zone_is_none(text):
    assert parse_timestamp(text) is None


#: Nearly timestamps: one that is valid, with a few characters replaced, removed or added.
EDITS = st.lists(
    st.tuples(
        st.integers(0, 40), st.sampled_from(["", *"0123456789-+:.,TtZzWw x٢"]), st.booleans()
    ),
    max_size=3,
)


@given(
    st.sampled_from(
        ["2026-09-01T12:00:00Z", "2026-09-01T12:00:00.123456Z", "2026-09-01T14:00:00+02:00"]
    ),
    EDITS,
)
def test_common_timestamps_are_read_as_strictly_as_others(text, edits):
    for place, sign, is_replaced in edits:
        text = text[:place] + sign + text[place + is_replaced :]

    if parse_timestamp(text) is not None:
        assert fields._TIMESTAMP.fullmatch(text)


def test_moments_are_written_as_upstream_does():
    field = TimestampField()

    assert field.serialize("at", {"at": NOON}) == "2026-09-01T12:00:00Z"
    assert (
        field.serialize("at", {"at": NOON + timedelta(microseconds=5)})
        == "2026-09-01T12:00:00.000005Z"
    )
    assert field.serialize("at", {"at": None}) is None


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("Ada@Example.ORG", "ada@example.org"), ("a+b@x.org", "a+b@x.org"), ("a/b@c.org", "a/b@c.org"), ("ü@bücher.example", "ü@bücher.example"),
        ("", None), ("ada", None), ("@x", None), ("a@", None), ("a@b@c", None), ("a b@c", None), ("a+b@x", None), ("a/b@c", None),
        ("a@b,c@d", None), ("a\0@b", None), ("a\ud800@b", None), ("a@b\n", None), ("x" * 250 + "@abcd", None), ("İ" * 100 + "@" + "x" * 100, None),
    ],
)  # fmt: skip
def test_emails_are_read_in_lower_case(text, email):
    assert parse_email(text) == email


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("ada", True), ("Ada Lovelace", True), ("zoë+1@x.y_z-", True), ("", False), ("a,b", False), ("a\n", False), ("x" * 256, False), (" ", False), (" a", False), ("a ", False), ("x" * 255, True)],
)  # fmt: skip
def test_usernames_are_upstreams(text, is_one):
    assert (parse_username(text) is not None) == is_one


@given(st.text(st.characters()))
def test_what_can_be_stored_can_be_encoded_and_holds_no_nul(text):
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        assert not is_storable(text)
    else:
        assert is_storable(text) == (b"\0" not in encoded)


@pytest.mark.parametrize(
    ("value", "safe"),
    [(None, None), (True, True), (5, 5), ("a", "a"), ("a\0\ud800\n", "a\ufffd\ufffd\ufffd"), ({}, "{}"), ("x" * 101, "x" * 99 + "…")],
)  # fmt: skip
def test_error_messages_give_values_back_short_and_safe(value, safe):
    assert display_value(value) == safe
