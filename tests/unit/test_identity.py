"""Who is meant: the canonical form of usernames and e-mails, and what neither of them may hold."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from enrollment.domain.codes import IdKind
from enrollment.domain.identity import canonical_email, canonical_text, has_invisible
from schemas.crosswalks import load_entry
from schemas.fields import MAX_EMAIL, email_rule, parse_email, parse_username, username_rule
from schemas.identity.damaged_ids import is_damaged_id
from schemas.identity.email_syntax import EMAIL
from schemas.learners import load_learner
from schemas.openedx_bulk_enroll import load_bulk_enroll
from schemas.requests.fast_parser import is_email, is_username
from schemas.requests.parsed import InvalidRequest
from schemas.requests.schema import load_request

KEY = "course-v1:Uni+ALG+1"
KELVIN = "\u212a"
#: Zero width space and joiners, BOM, soft hyphen, marks, embeddings and isolates of direction,
#: separators of lines and paragraphs, a Hangul filler, a variation selector, a tag.
INVISIBLE = [
    "\u200b", "\u200c", "\u200d", "\ufeff", "\xad", "\u200e", "\u200f", "\u061c", "\u202a", "\u202e",
    "\u2066", "\u2069", "\u2028", "\u2029", "\u2060", "\u180e", "\x85", "\x1b", "\t", "\u115f", "\u3164",
    "\ufe0f", "\u034f", "\U000e0041", "\ufff9", "\u06dd",
]  # fmt: skip
TEXTS = st.text(st.characters() | st.sampled_from([KELVIN, "\u0301", "e", "K", "@", ".", "\u200b"]))


# --- the canonical form -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["jürgen@example.org", "ada@bücher.example", "Ångström@example.org", "각@example.org"]
)
def test_composed_and_decomposed_emails_are_one(text):
    decomposed = unicodedata.normalize("NFD", text)

    assert parse_email(text) == parse_email(decomposed) == text
    assert load_request({"email": decomposed, "course_id": KEY}).email == text


@pytest.mark.parametrize("text", ["Zoë", "Việt", "각", "é è"])
def test_composed_and_decomposed_usernames_are_one(text):
    decomposed = unicodedata.normalize("NFD", text)

    assert parse_username(text) == parse_username(decomposed) == text
    assert load_request({"user": decomposed, "course_id": KEY}).username == text
    assert load_learner({"username": decomposed}).username == text
    assert load_learner({"username": decomposed}, username=text).username == text
    assert load_entry({"kind": "learner", "theirs": "1", "ours": decomposed}) == (
        IdKind.LEARNER, "1", text
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("ADA@EXAMPLE.ORG", "ada@example.org"),
        (f"{KELVIN}evin@example.org", f"{KELVIN}evin@example.org"),
        ("İda@example.org", "İda@example.org"),
        ("ÄRA@example.org", "Ära@example.org"),
        ("\u017fara@example.org", "\u017fara@example.org"),
    ],
)
def test_only_letters_of_ascii_are_lowered(text, email):
    assert parse_email(text) == email
    assert load_request({"email": text, "course_id": KEY}).email == email


@given(TEXTS)
def test_no_text_becomes_one_of_ascii_that_was_none(text):
    assert canonical_text(text).isascii() == text.isascii()
    assert canonical_email(text).isascii() == text.isascii()


@given(TEXTS)
def test_the_canonical_form_is_its_own(text):
    assert canonical_text(canonical_text(text)) == canonical_text(text)
    assert canonical_email(canonical_email(text)) == canonical_email(text)


@given(st.text(st.characters(exclude_characters="\u037e\u1fef\u212a\u0340\u0341")))
def test_equivalent_texts_have_one_form(text):
    assert canonical_text(unicodedata.normalize("NFD", text)) == canonical_text(text)


def test_of_all_characters_three_would_become_ascii():
    becoming = [
        chr(code)
        for code in range(0x80, sys.maxunicode + 1)
        if unicodedata.normalize("NFC", chr(code)).isascii()
    ]

    assert becoming == ["\u037e", "\u1fef", KELVIN]
    assert [canonical_text(sign) for sign in becoming] == becoming


# --- invisible characters ---------------------------------------------------------------------


@pytest.mark.parametrize("sign", INVISIBLE)
@pytest.mark.parametrize("form", ["{}ada", "a{}da", "ada{}"])
def test_an_invisible_character_is_refused_by_its_rule(sign, form):
    text = form.format(sign)
    email = f"{text}@example.org"

    assert parse_username(text) is None
    assert parse_email(email) is None
    assert (username_rule(text), email_rule(email)) == ("invisible_character",) * 2
    assert not is_username(text)
    assert not is_email(email)
    with pytest.raises(InvalidRequest) as refused:
        load_request({"user": text, "email": email, "course_id": KEY})
    assert [item["rule"] for item in refused.value.findings] == ["invisible_character"] * 2
    for data in ({"username": text}, {"username": "ada", "email": email}):
        with pytest.raises(ValidationError) as error:
            load_learner(data)
        assert [*error.value.messages.values()] == [["invisible_character"]]


@pytest.mark.parametrize("sign", ["\u200b", "\ufeff", "\xad", "\u2066"])
def test_a_pasted_address_with_an_invisible_character_is_nobodys(sign):
    body = {"identifiers": f"cleo@example.org{sign}", "courses": KEY, "action": "enroll"}

    (row,) = load_bulk_enroll(body).requests()

    assert "email" not in row
    with pytest.raises(InvalidRequest):
        load_request(row)


def test_every_control_and_format_character_is_invisible():
    seen = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zl", "Zp"}
        and not has_invisible(chr(code))
    ]

    assert seen == []


@given(
    st.text(
        st.characters(categories=["L", "N", "P"], exclude_characters="\u115f\u1160\u3164\uffa0")
    )
)
def test_letters_and_digits_are_visible(text):
    assert not has_invisible(text)


# --- e-mail addresses -------------------------------------------------------------------------


LABEL = "a" * 63


@pytest.mark.parametrize(
    "email",
    [
        "email@here.com", "weirder-email@here.and.there.com", "email@[127.0.0.1]", "email@[2001:db8::1]",
        "email@[::ffff:127.0.0.1]", "a@valid-----hyphens.com", "a@domain.with.idn.tld.उदाहरण.परीक्षा",
        "email@localhost", '"test@test"@example.com', f"a@atm.{LABEL}", f"a@{LABEL}.atm", r'"a\ b"@x.org',
        "o'neill@example.org", "a+b@x.y.zz", "!#$%&'*+/=?^_`{|}~-@x.org", "a@x.12", "ada@bücher.example",
    ],
)  # fmt: skip
def test_what_open_edx_accepts_is_an_email(email):
    assert parse_email(email) == email


@pytest.mark.parametrize(
    "text",
    [
        "x@example.org.", "x@example..org", ".x@example.org", "x@-example.org", "'x@example.org'",
        "x.@example.org", "x..y@example.org", "x@example-.org", "abc", "abc@", "abc@bar", "a @x.cz",
        "abc@.com", "something@@somewhere.com", "email@127.0.0.1", "email@[127.0.0.256]", "email@[2001:db8::12345]",
        "email@[2001:dg8::1]", "a@invalid-.com", "a@inv-.alid.com", "a@invalid.com-", f"a@atm.{LABEL}a",
        f"a@{LABEL}a.atm", "a@x.c", "a b@x.org", "x@exa mple.org", "x@example.org\n", "x@[127.0.0.1", "x@exam_ple.org",
        "x<y@example.org", "x,y@example.org", "x@example。org", "x@…org.com", "„x“@example.org", '"a b"@x.org',
    ],
)  # fmt: skip
def test_what_open_edx_does_not_accept_is_none(text):
    assert parse_email(text) is None
    assert not is_email(text)


@given(st.from_regex(EMAIL, fullmatch=True) | st.emails() | TEXTS)
def test_the_fast_check_of_emails_is_as_strict(text):
    if is_email(text):
        assert parse_email(text) == text.lower()


@given(TEXTS)
def test_the_fast_check_of_usernames_is_as_strict(text):
    if is_username(text):
        assert parse_username(text) == text
        assert not is_damaged_id(text)


def test_an_email_is_measured_in_its_canonical_form():
    longest = "e\u0301" * 200 + "@example.org"

    assert len(longest) > MAX_EMAIL
    assert parse_email(longest) == "é" * 200 + "@example.org"
    assert email_rule("é" * 250 + "@example.org") == "length"


# --- damaged ids ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "4.71101E+11", "4,71101E+11", "4E+11", "4.71101e+11", "4.7E11", "1.2E-05", "4711.0", "4711.00", "4711,0",
        "NULL", "null", "Null", "None", "none", "nan", "NaN", "NAN", "#N/A", "N/A", "(null)", "\\N", "-", "<NA>",
        "undefined", "#REF!", "#NAME?", ".",
    ],
)  # fmt: skip
def test_what_a_program_damaged_is_known(text):
    assert is_damaged_id(text)
    assert not is_username(text)


@pytest.mark.parametrize(
    "text",
    ["", "4711", "004711", "12E4", "4E11", "4711.5", "2024.1", "ada.0x", "v1.0", "Nullmeier", "nora", "a-b", "1e", "E+11", "NA", "na", "nil"],
)  # fmt: skip
def test_ids_that_people_give_are_not_damaged(text):
    assert not is_damaged_id(text)


@pytest.mark.parametrize("text", ["(null)", "#N/A", "\\N", "4,7E+11"])
def test_a_damaged_id_that_is_no_username_has_its_own_rule(text):
    with pytest.raises(InvalidRequest) as refused:
        load_request({"user": text, "course_id": KEY})

    assert [item["rule"] for item in refused.value.findings] == ["damaged_id"]


@pytest.mark.parametrize("text", ["NULL", "nan", "#N/A", "4.7E+11", "-"])
def test_a_damaged_email_has_the_rule_of_damaged_ids(text):
    with pytest.raises(InvalidRequest) as refused:
        load_request({"email": text, "course_id": KEY})

    assert [(i["field"], i["rule"]) for i in refused.value.findings] == [("email", "damaged_id")]


@pytest.mark.parametrize("text", ["NULL", "4.7E+11", "#N/A"])
def test_a_damaged_course_id_has_its_own_rule(text):
    with pytest.raises(InvalidRequest) as refused:
        load_request({"user": "ada", "course_id": text})

    assert [(i["field"], i["rule"]) for i in refused.value.findings] == [
        ("course_id", "damaged_id")
    ]
