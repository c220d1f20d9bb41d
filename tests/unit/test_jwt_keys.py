"""Tokens of an outside issuer: which keys they are checked with, and where those come from."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api_gateway.auth import jwt_tokens
from api_gateway.auth.authentication import TOKEN_CACHE_SECONDS
from api_gateway.auth.jwt_keys import (
    JWKS_LIFETIME_SECONDS,
    MAX_STALE_SECONDS,
    REFRESH_INTERVAL_SECONDS,
    KeySet,
    KeysUnavailable,
    StaticKey,
    UnknownKey,
    usable_keys,
)
from api_gateway.auth.jwt_tokens import TokenRefused, TokenVerifier
from api_gateway.auth.signing_keys import SigningKey
from api_gateway.auth.watched_file import FILE_LOOK_SECONDS, WatchedFile
from enrollment.runtime.settings import Settings, SettingsError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
T = int(NOW.timestamp())
OWN = b"s" * 32
OWN_KEY = SigningKey.of(OWN)
OUTSIDE = "o" * 32
ISSUER = "https://lms.example.org/oauth2"


def outside(**changed):
    settings = {
        "database_url": "sqlite://",
        "redis_url": "redis://x",
        "broker_url": "redis://x",
        "jwt_issuer": ISSUER,
        "jwt_audience": "clients",
    }
    return TokenVerifier(
        Settings(**(settings | changed)), StaticKey(lambda: OWN), clock=NOW.timestamp
    )


def claims(**changed):
    return {"iss": ISSUER, "aud": "clients", "iat": T, "exp": T + 600, "sub": "ada"} | changed


def raw(header, payload, secret):
    """A token of exactly these texts, signed with HMAC."""
    signing = b".".join(
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, payload)
    )
    signature = hmac.new(secret, signing, hashlib.sha256).digest()
    return (signing + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def public_pem_of(private):
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk_of(private, **members):
    return jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True) | members


@pytest.fixture(scope="module")
def private_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def public_pem(private_key, tmp_path):
    path = tmp_path / "issuer.pem"
    path.write_bytes(public_pem_of(private_key))
    return path


@pytest.fixture
def jwks(private_key, tmp_path):
    path = tmp_path / "issuer.json"
    path.write_text(json.dumps({"keys": [jwk_of(private_key, kid="one")]}))
    return path


def test_an_outside_issuer_signs_with_its_secret():
    assert outside(jwt_secret=OUTSIDE).verify(jwt.encode(claims(), OUTSIDE)).username == "ada"


def test_each_issuer_is_believed_by_its_own_key_alone():
    believing = outside(jwt_secret=OUTSIDE)
    own = {"iss": jwt_tokens.OWN_ISSUER, "aud": jwt_tokens.OWN_AUDIENCE}
    forged = [
        jwt.encode(claims(), OWN, algorithm="HS256"),
        jwt.encode(claims(**own), OUTSIDE, algorithm="HS256"),
        jwt.encode(claims(aud=jwt_tokens.OWN_AUDIENCE), OUTSIDE, algorithm="HS256"),
    ]

    for text in forged:
        with pytest.raises(TokenRefused):
            believing.verify(text)
    assert believing.verify(jwt_tokens.sign_token(OWN_KEY, "ada", now=NOW)).username == "ada"


def test_an_outside_issuer_signs_with_the_private_half(private_key, public_pem):
    text = jwt.encode(claims(), private_key, algorithm="RS256")

    assert outside(jwt_public_key=public_pem).verify(text).username == "ada"


def test_the_one_algorithm_is_the_one_that_is_set(private_key, public_pem):
    text = jwt.encode(claims(), private_key, algorithm="RS256")

    with pytest.raises(TokenRefused):
        outside(jwt_public_key=public_pem, jwt_algorithm="RS512").verify(text)


@pytest.mark.parametrize(
    "header", ['{"alg":"HS256"}', '{"alg":"HS256","kid":"one"}', '{"alg":"none"}']
)
def test_what_is_public_is_no_shared_secret(header, public_pem, jwks):
    for source in ({"jwt_public_key": public_pem}, {"jwt_jwks": str(jwks)}):
        for secret in (public_pem.read_bytes(), jwks.read_bytes(), b""):
            with pytest.raises(TokenRefused):
                outside(**source).verify(raw(header, json.dumps(claims()), secret))


def test_a_key_set_knows_its_keys_by_their_ids(private_key, jwks):
    def signed(**header):
        return jwt.encode(claims(), private_key, algorithm="RS256", headers=header)

    believing = outside(jwt_jwks=str(jwks))

    assert believing.verify(signed(kid="one")).username == "ada"
    assert believing.verify(signed()).username == "ada"
    for kid in ("two", "../issuer.json", "one\0", "' OR 1=1", str(jwks), "https://127.0.0.1/x"):
        with pytest.raises(TokenRefused):
            believing.verify(signed(kid=kid))


def test_only_the_network_makes_verifying_slow(jwks):
    assert not outside(jwt_secret=OUTSIDE).may_block
    assert not outside(jwt_jwks=str(jwks)).may_block
    assert outside(jwt_jwks="https://127.0.0.1:1/jwks").may_block


def test_an_issuer_out_of_reach_is_no_judgement_about_the_token(private_key):
    text = jwt.encode(claims(), private_key, algorithm="RS256", headers={"kid": "one"})

    with pytest.raises(KeysUnavailable):
        outside(jwt_jwks="https://127.0.0.1:1/jwks").verify(text)


def test_settings_that_cannot_work_are_refused_at_once(private_key, public_pem, jwks, tmp_path):
    private = tmp_path / "private.pem"
    private.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    short = tmp_path / "short.pem"
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    short.write_bytes(public_pem_of(weak))
    (tmp_path / "empty.json").write_text('{"keys": []}')
    cases = [
        ({"jwt_secret": "short"}, "ENROLL_JWT_SECRET is too short for HS256"),
        ({"jwt_secret": OUTSIDE, "jwt_algorithm": "RS256"}, "must be one of HS256, HS384, HS512"),
        ({"jwt_secret": public_pem.read_text()}, "ENROLL_JWT_SECRET is not a key for HS256"),
        ({"jwt_public_key": public_pem, "jwt_algorithm": "HS256"}, "must be one of ES256"),
        ({"jwt_public_key": public_pem, "jwt_algorithm": "none"}, "must be one of ES256"),
        ({"jwt_public_key": public_pem, "jwt_algorithm": "ES256"}, "is not a key for ES256"),
        ({"jwt_public_key": tmp_path / "away.pem"}, "cannot be read"),
        ({"jwt_public_key": private}, "must be the public key, not"),
        ({"jwt_public_key": short}, "ENROLL_JWT_PUBLIC_KEY is too short for RS256"),
        ({"jwt_jwks": "http://idp.example.org/jwks"}, "a file or an https URL"),
        ({"jwt_jwks": str(tmp_path / "away.json")}, "cannot be used"),
        ({"jwt_jwks": str(tmp_path / "empty.json")}, "contains no public key for RS256"),
        ({"jwt_jwks": str(public_pem)}, "cannot be used"),
        ({"jwt_jwks": str(jwks), "jwt_algorithm": "ES256"}, "contains no public key for ES256"),
        ({"jwt_secret": OUTSIDE, "jwt_issuer": "enroll"}, "ENROLL_JWT_ISSUER cannot be 'enroll'"),
    ]

    for changed, message in cases:
        with pytest.raises(SettingsError, match=message):
            outside(**changed)


def test_of_a_key_set_only_public_signing_keys_of_the_algorithm_are_used(private_key):
    other_curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    keys = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        jwk_of(private_key, kid="good", use="sig"),
        jwk_of(private_key, kid="encrypts", use="enc"),
        jwk_of(private_key, kid="other", alg="RS512"),
        jwk_of(private_key, kid=7),
        jwt.algorithms.RSAAlgorithm.to_jwk(private_key, as_dict=True) | {"kid": "private"},
        jwt.algorithms.ECAlgorithm.to_jwk(other_curve, as_dict=True) | {"kid": "good"},
        {"kty": "RSA", "kid": "broken"},
        "noise",
    ]

    assert list(usable_keys({"keys": keys}, "RS256")) == ["good"]


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}])
def test_a_document_that_lists_no_keys_is_refused(document):
    with pytest.raises(ValueError, match="not a JWKS"):
        usable_keys(document, "RS256")


class Source:
    """An issuer whose key set can change and go away, and that counts how often it is asked."""

    def __init__(self, private_key, *kids):
        self.now = 1000.0
        self.asked = 0
        self.away = False
        self.kids = kids
        self._private_key = private_key

    def load(self):
        self.asked += 1
        if self.away:
            raise OSError
        return {"keys": [jwk_of(self._private_key, kid=kid) for kid in self.kids]}

    def key_set(self):
        return KeySet(self.load, algorithm="RS256", clock=lambda: self.now)


def test_keys_are_asked_for_once_in_a_while(private_key):
    source = Source(private_key, "one", "two")
    keys = source.key_set()

    for _ in range(3):
        assert keys.find("one").key_id == "one"
        assert keys.find("two").key_id == "two"
    assert source.asked == 1
    source.now += JWKS_LIFETIME_SECONDS
    keys.find("one")
    assert source.asked == 2


def test_a_new_key_is_found_and_made_up_ids_do_not_hammer_the_issuer(private_key):
    source = Source(private_key, "one")
    keys = source.key_set()
    keys.find("one")
    source.kids = ("one", "two")

    for _ in range(5):
        with pytest.raises(UnknownKey):
            keys.find("two")
    assert source.asked == 1
    source.now += REFRESH_INTERVAL_SECONDS
    assert keys.find("two").key_id == "two"


def test_a_removed_key_is_refused_after_the_next_reading(private_key):
    source = Source(private_key, "one", "two")
    keys = source.key_set()
    keys.find("one")
    source.kids = ("two",)
    source.now += JWKS_LIFETIME_SECONDS

    with pytest.raises(UnknownKey):
        keys.find("one")


def test_without_an_id_a_set_of_two_gives_no_key(private_key):
    with pytest.raises(UnknownKey):
        Source(private_key, "one", "two").key_set().find(None)


def test_while_the_issuer_is_away_the_last_keys_stay_for_an_hour(private_key):
    source = Source(private_key, "one")
    keys = source.key_set()
    keys.find("one")
    source.away = True

    source.now += MAX_STALE_SECONDS
    assert keys.find("one").key_id == "one"
    source.now += 1
    with pytest.raises(KeysUnavailable):
        keys.find("one")
    source.away = False
    source.now += REFRESH_INTERVAL_SECONDS
    assert keys.find("one").key_id == "one"


def test_whoever_has_keys_does_not_wait_for_who_is_reading_them(private_key):
    source = Source(private_key, "one")
    keys = source.key_set()
    keys.find("one")
    source.now += JWKS_LIFETIME_SECONDS
    with keys._refreshing:
        assert keys.find("one").key_id == "one"
    assert source.asked == 1


class WatchedJwks:
    """A file of keys, the set that reads it, and a clock."""

    def __init__(self, path, private_key):
        self.now = 1000.0
        self.path = path
        self._private_key = private_key
        self.write("one", "two")
        file = WatchedFile(path, lambda: self.now)
        self.keys = KeySet(
            lambda: json.loads(file.read()),
            algorithm="RS256",
            clock=lambda: self.now,
            file=file,
        )

    def write(self, *kids):
        keys = [jwk_of(self._private_key, kid=kid) for kid in kids]
        self.path.write_text(json.dumps({"keys": keys}))


@pytest.fixture
def watched(tmp_path, private_key):
    made = WatchedJwks(tmp_path / "jwks.json", private_key)
    made.keys.find("one")
    return made


@pytest.mark.parametrize("left", [("two",), ()])
def test_a_key_that_leaves_its_file_is_refused_at_the_next_look(watched, left):
    watched.now += FILE_LOOK_SECONDS - 1
    watched.keys.find("one")
    watched.write(*left)
    watched.now += FILE_LOOK_SECONDS

    with pytest.raises(UnknownKey):
        watched.keys.find("one")


def test_a_removed_key_is_refused_though_another_was_just_looked_for(watched):
    watched.now += REFRESH_INTERVAL_SECONDS
    with pytest.raises(UnknownKey):
        watched.keys.find("made up")
    watched.write("two")
    watched.now += FILE_LOOK_SECONDS

    with pytest.raises(UnknownKey):
        watched.keys.find("one")


def test_a_file_that_is_half_written_changes_nothing_until_it_is_whole(watched):
    whole = watched.path.read_text()
    watched.path.write_text(whole[:-9])
    watched.now += FILE_LOOK_SECONDS
    assert watched.keys.find("one").key_id == "one"

    watched.write("two")
    watched.now += FILE_LOOK_SECONDS
    with pytest.raises(UnknownKey):
        watched.keys.find("one")


def test_a_file_that_did_not_change_is_not_read_again(watched):
    before = watched.keys._loaded_at

    watched.now += FILE_LOOK_SECONDS * 3
    watched.keys.find("one")

    assert watched.keys._loaded_at == before


def test_a_removed_key_is_refused_within_half_a_minute_also_for_tokens_seen_before():
    assert FILE_LOOK_SECONDS + TOKEN_CACHE_SECONDS < 30
