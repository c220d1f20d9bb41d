"""Keys and tokens: which are believed, and which are not."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.auth import jwt_tokens
from api_gateway.auth.jwt_keys import StaticKey
from api_gateway.auth.jwt_tokens import Claims, TokenRefused, TokenVerifier
from api_gateway.auth.signing_keys import SigningKey
from enrollment.runtime.settings import Settings
from schemas.fields import parse_username

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
T = int(NOW.timestamp())
SECRET = b"s" * 32
KEY = SigningKey.of(SECRET)
SETTINGS = Settings(database_url="sqlite://", redis_url="redis://x", broker_url="redis://x")


def verifier(settings=SETTINGS):
    return TokenVerifier(settings, StaticKey(lambda: SECRET), clock=NOW.timestamp)


def claims(**changed):
    usual = {
        "iss": "enroll",
        "aud": "enroll",
        "iat": T,
        "exp": T + 600,
        "sub": "7",
        "preferred_username": "ada",
    }
    return {name: value for name, value in (usual | changed).items() if value is not ...}


def raw(header, payload, secret=SECRET):
    """A token of exactly these texts, signed rightly with HS256."""
    signing = b".".join(
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, payload)
    )
    signature = hmac.new(secret, signing, hashlib.sha256).digest()
    return (signing + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def token(header=None, **changed):
    return raw(
        json.dumps({"alg": "HS256", "typ": "JWT"} | (header or {})), json.dumps(claims(**changed))
    )


@pytest.mark.parametrize(
    ("given", "claims"),
    [
        pytest.param({}, Claims("ada", None, is_staff=False, seconds_left=3600), id="plain"),
        pytest.param(
            {"email": "ada@example.org", "staff": True, "minutes": 5},
            Claims("ada", "ada@example.org", is_staff=True, seconds_left=300),
            id="staff",
        ),
        pytest.param(
            {"minutes": 59.5}, Claims("ada", None, is_staff=False, seconds_left=3570), id="half"
        ),
    ],
)
def test_a_token_of_ours_says_what_was_signed(given, claims):
    assert verifier().verify(jwt_tokens.sign_token(KEY, "ada", now=NOW, **given)) == claims


@given(
    name=st.text(
        st.characters(categories=["L", "N"], include_characters=" .@_+-"), min_size=1, max_size=255
    ).filter(lambda name: parse_username(name) == name)
)
def test_a_name_comes_back_to_the_letter(name):
    assert verifier().verify(jwt_tokens.sign_token(KEY, name, now=NOW)).username == name


@pytest.mark.parametrize(("name", "email"), [("a:b", None), (" ada", None), ("ada", "ada")])
def test_a_token_that_would_not_be_believed_is_not_signed(name, email):
    with pytest.raises(ValueError, match="username"):
        jwt_tokens.sign_token(KEY, name, email=email, now=NOW)


def test_a_token_of_ours_names_its_key():
    header = jwt.get_unverified_header(jwt_tokens.sign_token(KEY, "ada", now=NOW))

    assert header["kid"] == KEY.kid
    assert KEY.kid not in SECRET.decode()


@pytest.mark.parametrize(
    ("maximum", "seconds", "is_believed"),
    [(3600, 3600, True), (3600, 3601, False), (60, 61, False), (86400, 86400, True)],
)
def test_a_token_lives_for_as_long_as_is_set_at_most(maximum, seconds, is_believed):
    believing = verifier(replace(SETTINGS, jwt_max_lifetime=maximum))
    text = token(exp=T + seconds)

    if is_believed:
        assert believing.verify(text).seconds_left == seconds
        return
    with pytest.raises(TokenRefused, match=f"exp - iat is {seconds} seconds, and the maximum"):
        believing.verify(text)


def test_a_token_lives_for_an_hour_at_most_by_default():
    assert SETTINGS.jwt_max_lifetime == 3600


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({"preferred_username": ...}, ("7", None, False), id="sub-alone"),
        pytest.param({"sub": ...}, ("ada", None, False), id="preferred-username-alone"),
        pytest.param({"preferred_username": None}, ("7", None, False), id="null-username"),
        pytest.param({"administrator": True}, ("ada", None, True), id="staff"),
        pytest.param({"administrator": "true"}, ("ada", None, False), id="staff-as-text"),
        pytest.param({"administrator": 1}, ("ada", None, False), id="staff-as-number"),
        pytest.param({"email": "a@b.cd"}, ("ada", "a@b.cd", False), id="email"),
        pytest.param({"email": "A@B.cd"}, ("ada", "a@b.cd", False), id="email-in-capitals"),
        pytest.param({"email": ""}, ("ada", None, False), id="blank-email"),
        pytest.param({"email": "a@b.cd", "email_verified": True}, ("ada", "a@b.cd", False), id="verified-email"),
        pytest.param({"email": "a@b.cd", "email_verified": False}, ("ada", None, False), id="doubted-email"),
        pytest.param({"email": "a@b.cd", "email_verified": "true"}, ("ada", "a@b.cd", False), id="verified-in-a-text"),
        pytest.param({"email": "a@b.cd", "email_verified": "false"}, ("ada", None, False), id="doubted-in-a-text"),
        pytest.param({"email": "a@b.cd", "email_verified": 1}, ("ada", None, False), id="verified-by-a-number"),
        pytest.param({"email": "a@b.cd", "email_verified": None}, ("ada", None, False), id="verified-null"),
        pytest.param({"email": "a\u200b@b", "email_verified": []}, ("ada", None, False), id="an-unused-email-is-not-read"),
        pytest.param({"email": "\u212aevin@b.cd"}, ("ada", "\u212aevin@b.cd", False), id="kelvin-sign"),
        pytest.param({"email": "JU\u0308RGEN@b.cd"}, ("ada", "j\xdcrgen@b.cd", False), id="decomposed-email"),
        pytest.param({"preferred_username": "Zoe\u0308"}, ("Zo\xeb", None, False), id="decomposed-name"),
        pytest.param({"aud": ["other", "enroll"]}, ("ada", None, False), id="one-of-many-audiences"),
        pytest.param({"iat": T + 5}, ("ada", None, False), id="clock-a-little-ahead"),
        pytest.param({"nbf": T}, ("ada", None, False), id="begins-now"),
        pytest.param({"exp": T + 0.5}, ("ada", None, False), id="fraction-of-a-second"),
        pytest.param({"iat": T - 3599, "exp": T + 1}, ("ada", None, False), id="a-whole-hour"),
        pytest.param({"preferred_username": "Åda Ü. 日本"}, ("Åda Ü. 日本", None, False), id="letters-and-spaces"),
    ],
)  # fmt: skip
def test_a_good_token_is_believed(changed, expected):
    assert verifier().verify(token(**changed))[:3] == expected


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"exp": T}, "token_expired", id="expires-now"),
        pytest.param({"exp": T - 1}, "token_expired", id="expired"),
        pytest.param({"exp": ...}, "token_malformed", id="no-exp"),
        pytest.param({"iat": ...}, "token_malformed", id="no-iat"),
        pytest.param({"aud": ...}, "token_malformed", id="no-aud"),
        pytest.param({"iss": ...}, "token_nonexistent", id="no-iss"),
        pytest.param({"exp": None}, "token_malformed", id="null-exp"),
        pytest.param({"exp": True}, "token_malformed", id="exp-true"),
        pytest.param({"exp": str(T + 9)}, "token_malformed", id="exp-text"),
        pytest.param({"exp": 1e300}, "token_malformed", id="exp-for-ever"),
        pytest.param({"exp": 10**400}, "token_malformed", id="exp-too-large-for-a-float"),
        pytest.param({"iat": -1}, "token_malformed", id="before-1970"),
        pytest.param({"iat": T - 86400, "exp": T + 1}, "token_nonexistent", id="more-than-a-day"),
        pytest.param({"iat": T + 6}, "token_nonexistent", id="issued-tomorrow"),
        pytest.param({"nbf": T + 6}, "token_nonexistent", id="begins-later"),
        pytest.param({"nbf": None}, "token_malformed", id="null-nbf"),
        pytest.param({"aud": "other"}, "token_nonexistent", id="other-audience"),
        pytest.param({"aud": []}, "token_malformed", id="nobody"),
        pytest.param({"iss": "other"}, "token_nonexistent", id="other-issuer"),
        pytest.param({"iss": ["enroll"]}, "token_nonexistent", id="list-of-issuers"),
        pytest.param({"sub": 7}, "token_nonexistent", id="sub-as-number"),
        pytest.param({"sub": ..., "preferred_username": ...}, "token_malformed", id="nobody-named"),
        pytest.param({"preferred_username": ""}, "token_malformed", id="blank-name"),
        pytest.param({"preferred_username": 7}, "token_malformed", id="name-as-number"),
        pytest.param({"preferred_username": "a\0b"}, "token_malformed", id="nul"),
        pytest.param({"preferred_username": "a\nb"}, "token_malformed", id="line-break"),
        pytest.param({"preferred_username": "\ud800"}, "token_malformed", id="lone-surrogate"),
        pytest.param({"preferred_username": "a" * 256}, "token_malformed", id="long-name"),
        pytest.param({"preferred_username": " ada"}, "token_malformed", id="space-before-a-name"),
        pytest.param({"preferred_username": "ada "}, "token_malformed", id="space-behind-a-name"),
        pytest.param({"preferred_username": "a/b"}, "token_malformed", id="no-username"),
        pytest.param({"preferred_username": ..., "sub": "idp|7"}, "token_malformed", id="sub-is-no-username"),
        pytest.param({"email": 7}, "token_malformed", id="email-as-number"),
        pytest.param({"email": "ada"}, "token_malformed", id="no-email"),
        pytest.param({"email": "a@b@c"}, "token_malformed", id="two-ats"),
        pytest.param({"email": "a" * 250 + "@b.cd"}, "token_malformed", id="long-email"),
        pytest.param({"email": "a\0@b.c"}, "token_malformed", id="nul-in-email"),
        pytest.param({"filler": "x" * 8192}, "token_malformed", id="too-long"),
    ],
)  # fmt: skip
def test_a_token_with_such_claims_is_refused(changed, code):
    with pytest.raises(TokenRefused) as refusal:
        verifier().verify(token(**changed))

    assert refusal.value.code == code


@pytest.mark.parametrize("sign", ["\u200b", "\ufeff", "\xad", "\u202e", "\u2066", "\u2028"])
@pytest.mark.parametrize("claim", ["preferred_username", "email"])
def test_an_invisible_character_in_a_claim_is_named(claim, sign):
    value = f"a{sign}da" if claim == "preferred_username" else f"a{sign}da@example.org"

    with pytest.raises(TokenRefused, match="has a character that is invisible") as refusal:
        verifier().verify(token(**{claim: value}))

    assert refusal.value.code == "token_malformed"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": "none"}, id="none"),
        pytest.param({"alg": "NoNe"}, id="none-in-disguise"),
        pytest.param({"alg": "HS512"}, id="other-algorithm"),
        pytest.param({"alg": None}, id="null-algorithm"),
        pytest.param({"crit": ["exp"], "exp": 1}, id="unknown-crit"),
        pytest.param({"crit": ["b64"], "b64": False}, id="detached"),
        pytest.param({"b64": True}, id="b64"),
        pytest.param({"typ": "logout+jwt"}, id="other-type"),
        pytest.param({"typ": ["JWT"]}, id="list-of-types"),
        pytest.param({"kid": 7}, id="kid-as-number"),
        pytest.param({"kid": "k" * 201}, id="long-kid"),
    ],
)
def test_a_token_with_such_a_header_is_refused(header):
    with pytest.raises(TokenRefused):
        verifier().verify(token(header))


@pytest.mark.parametrize(
    "header", [{"typ": "at+jwt"}, {"typ": "jwt"}, {"kid": "../../etc/passwd"}, {"jku": "https://x"}]
)
def test_a_harmless_header_changes_nothing(header):
    assert verifier().verify(token(header)).username == "ada"


GOOD_HEADER, GOOD_CLAIMS = '{"alg":"HS256"}', json.dumps(claims())


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        pytest.param('{"alg":"none","alg":"HS256"}', GOOD_CLAIMS, id="alg-twice"),
        pytest.param(GOOD_HEADER, GOOD_CLAIMS[:-1] + ',"sub":"root"}', id="sub-twice"),
        pytest.param(GOOD_HEADER, GOOD_CLAIMS.replace(str(T + 600), "NaN"), id="nan"),
        pytest.param(GOOD_HEADER, GOOD_CLAIMS.replace(str(T + 600), "Infinity"), id="infinity"),
        pytest.param(GOOD_HEADER, GOOD_CLAIMS.replace(str(T + 600), "1e999"), id="infinite-exponent"),
        pytest.param(GOOD_HEADER, GOOD_CLAIMS.replace(str(T + 600), "9" * 5000), id="digits"),
        pytest.param(GOOD_HEADER, "[" * 5000, id="deep"),
        pytest.param(GOOD_HEADER, "[]", id="list"),
        pytest.param("7", GOOD_CLAIMS, id="number-for-a-header"),
        pytest.param("", GOOD_CLAIMS, id="no-header"),
        pytest.param(GOOD_HEADER, "{", id="broken"),
    ],
)  # fmt: skip
def test_a_token_that_is_not_strict_json_is_refused(header, payload):
    with pytest.raises(TokenRefused) as refusal:
        verifier().verify(raw(header, payload))

    assert refusal.value.code == "token_malformed"


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "ä.b.c", "a b.c.d", "////.b.c"]
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(TokenRefused):
        verifier().verify(text)


@given(
    text=st.text(max_size=60)
    | st.from_regex(r"[A-Za-z0-9_-]{1,30}(\.[A-Za-z0-9_-]{1,30}){2}", fullmatch=True)
)
def test_noise_is_refused_and_nothing_worse(text):
    with pytest.raises(TokenRefused):
        verifier().verify(text)


def test_a_signature_must_be_there_and_right():
    head, _, signature = token().rpartition(".")
    wrong = ("A" if signature[0] != "A" else "B") + signature[1:]

    for text in (head, head + ".", f"{head}.{wrong}", raw(GOOD_HEADER, GOOD_CLAIMS, b"x" * 32)):
        with pytest.raises(TokenRefused):
            verifier().verify(text)
