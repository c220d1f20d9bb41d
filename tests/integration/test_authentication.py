"""Who is asking: every way of carrying a credential."""

import base64
import hmac
from contextlib import closing
from datetime import timedelta

import jwt
import pytest

from api_gateway.auth import api_keys, jwt_tokens
from api_gateway.auth.authentication import KEY_CACHE_SECONDS
from api_gateway.auth.caller import Caller
from enrollment.domain.codes import CallerKind
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.engines import make_engine
from enrollment.storage.engine.sessions import Sessions
from tests.support.credentials import (
    EDX_KEY,
    NOW,
    SECRET,
    SIGNING_KEY,
    CredentialTester,
    bearer,
    edx_header,
    jwt_header,
    signed,
)

EDX = Caller("key:edx", CallerKind.SERVER, frozenset({"enroll", "read", "courses"}))
ADA = Caller("user:ada", CallerKind.LEARNER, frozenset(), "ada", "ada@example.org")
EVE = Caller("user:eve", CallerKind.STAFF, frozenset({"enroll", "read"}), "eve")


def ada():
    return signed("ada", email="ada@example.org")


def eve():
    return signed("eve", staff=True)


def test_without_credentials_nobody_asks(gate):
    assert gate.see() is None
    assert gate.see(("Authorization", "Basic YTpi")) is None
    assert gate.see(("Authorization", 'Digest username="a", realm="b"')) is None
    assert gate.see(edx_header("")) is None
    assert gate.records.asked == 0


@pytest.mark.parametrize(
    "carry", [edx_header, bearer, lambda key: ("authorization", f"BEARER  {key} ")]
)
@pytest.mark.parametrize(
    ("scopes", "kind"),
    [
        (("enroll", "read"), CallerKind.SERVER),
        (("read",), CallerKind.SERVER),
        ((), CallerKind.SERVER),
        (("admin",), CallerKind.ADMIN),
    ],
)
def test_a_key_alone_is_a_server_with_its_scopes(gate, carry, scopes, kind):
    assert gate.see(carry(gate.key(*scopes))) == Caller("key:sis", kind, frozenset(scopes))


@pytest.mark.parametrize("carry", [edx_header, bearer])
def test_the_fixed_key_is_open_edx(gate, carry):
    assert gate.see(carry(EDX_KEY)) == EDX
    assert gate.records.asked == 0


@pytest.mark.parametrize(
    "carry", [jwt_header, bearer, lambda text: ("Authorization", f"jwt {text}")]
)
def test_a_token_alone_is_its_subject(gate, carry):
    assert gate.see(carry(ada())) == ADA
    assert gate.see(carry(eve())) == EVE


@pytest.mark.parametrize(
    ("person", "scopes", "kind", "together"),
    [
        pytest.param(ADA, {"enroll"}, CallerKind.SERVER, {"enroll"}, id="learner-enroll"),
        pytest.param(ADA, {"read"}, CallerKind.LEARNER, {"read"}, id="learner-read"),
        pytest.param(ADA, set(), CallerKind.LEARNER, set(), id="learner-nothing"),
        pytest.param(ADA, {"admin"}, CallerKind.ADMIN, {"admin"}, id="learner-admin"),
        pytest.param(EVE, {"courses"}, CallerKind.STAFF, {"courses", "enroll", "read"}, id="staff-courses"),
        pytest.param(EVE, {"admin"}, CallerKind.ADMIN, {"admin", "enroll", "read"}, id="staff-admin"),
    ],
)  # fmt: skip
def test_a_token_and_a_key_are_the_subject_with_the_scopes(gate, person, scopes, kind, together):
    token = ada() if person is ADA else eve()
    key = gate.key(*scopes)

    seen = gate.see(jwt_header(token), edx_header(key))

    assert seen == person._replace(kind=kind, scopes=frozenset(together))
    assert gate.see(bearer(token), edx_header(key)) == seen


def test_the_same_key_may_be_carried_twice(gate):
    key = gate.key("read")

    assert gate.see(bearer(key), edx_header(key)).name == "key:sis"
    assert gate.see(bearer(EDX_KEY), edx_header(EDX_KEY)) == EDX


def test_credentials_that_disagree_are_refused(gate):
    key = gate.key("read")

    for headers in [
        (bearer(key), edx_header(gate.key("read"))),
        (bearer(EDX_KEY), edx_header(key)),
        (jwt_header(ada()), jwt_header(eve())),
        (jwt_header(ada()), bearer(key)),
        (bearer(key), bearer(key)),
        (("Authorization", "Basic YTpi"), bearer(key)),
        (bearer(key), ("Authorization", "Basic YTpi")),
        (edx_header(key), edx_header(EDX_KEY)),
    ]:
        assert gate.refusal(*headers).status == 401


@pytest.mark.parametrize(
    ("header", "code"),
    [
        pytest.param(edx_header(api_keys.new_api_key()[0]), "token_nonexistent", id="unknown-key"),
        pytest.param(bearer(api_keys.new_api_key()[0]), "token_nonexistent", id="unknown-bearer-key"),
        pytest.param(edx_header("nonsense"), "token_nonexistent", id="other-key"),
        pytest.param(edx_header(EDX_KEY + " x"), "token_nonexistent", id="longer-fixed-key"),
        pytest.param(edx_header(EDX_KEY[:-1]), "token_nonexistent", id="shorter-fixed-key"),
        pytest.param(edx_header("sch\xf6n"), "token_nonexistent", id="latin-letters"),
        pytest.param(bearer("nonsense"), "token_malformed", id="no-token"),
        pytest.param(jwt_header("nonsense"), "token_malformed", id="no-jwt"),
        pytest.param(jwt_header(EDX_KEY), "token_malformed", id="key-as-jwt"),
        pytest.param(("Authorization", "Bearer"), "token_not_provided", id="scheme-alone"),
        pytest.param(("Authorization", "JWT  "), "token_not_provided", id="blank-token"),
        pytest.param(jwt_header(jwt.encode({"iss": "other"}, SECRET)), "token_nonexistent", id="other-issuer"),
        pytest.param(
            jwt_header(jwt_tokens.sign_token(SIGNING_KEY, "ada", now=NOW - timedelta(hours=1))),
            "token_expired",
            id="expired",
        ),
    ],
)  # fmt: skip
def test_bad_credentials_are_refused_as_upstream_does(gate, header, code):
    problem = gate.refusal(header)

    body = problem.body()
    assert problem.status == 401
    assert problem.headers["WWW-Authenticate"].startswith("JWT ")
    assert (body["code"], body["error_code"]) == ("not_authenticated", code)
    assert body["detail"] == body["developer_message"]


def test_a_bad_credential_beside_a_good_one_is_refused(gate):
    assert gate.refusal(jwt_header(ada()), edx_header("nonsense")).status == 401
    assert gate.refusal(jwt_header("nonsense"), edx_header(EDX_KEY)).status == 401


def test_without_a_fixed_key_none_is_taken(sessions):
    gate = CredentialTester(sessions, edx_api_key=None)

    with closing(gate.records):
        for text in (EDX_KEY, "None", "null"):
            assert gate.refusal(edx_header(text)).status == 401


def test_without_a_signing_key_no_token_of_ours_is_believed(sessions, tmp_path):
    gate = CredentialTester(sessions, signing_key=None, data_dir=tmp_path)

    with closing(gate.records):
        header, claims, _ = ada().split(".")
        by_nothing = base64.urlsafe_b64encode(
            hmac.digest(b"", f"{header}.{claims}".encode(), "sha256")
        )
        for token in (ada(), f"{header}.{claims}.{by_nothing.decode().rstrip('=')}"):
            assert gate.refusal(jwt_header(token)).status == 401
        (tmp_path / "signing.key").write_bytes(SECRET)
        assert gate.see(jwt_header(eve())).username == "eve"


def test_where_our_own_tokens_are_switched_off_none_is_believed(sessions):
    gate = CredentialTester(sessions, own_tokens=False)

    with closing(gate.records):
        assert gate.refusal(jwt_header(ada())).body()["detail"] == "The token's issuer is unknown."


def test_a_key_whose_time_is_over_is_refused_and_says_so(gate):
    key = gate.key("read", expires_at=NOW + timedelta(seconds=30))

    assert gate.see(edx_header(key)).name == "key:sis"
    gate.wall += 30
    gate.now += KEY_CACHE_SECONDS
    problem = gate.refusal(edx_header(key))
    assert problem.status == 401
    assert problem.body()["detail"] == "The API key has expired."
    assert gate.refusal(bearer(key)).status == 401


def test_while_the_records_are_away_a_key_is_neither_good_nor_bad(tmp_path):
    gate = CredentialTester(Sessions(make_engine(f"sqlite:///{tmp_path}/away/records.sqlite3")))

    with closing(gate.records):
        with pytest.raises(DatabaseUnavailable):
            gate.see(edx_header(api_keys.new_api_key()[0]))
        assert gate.see(edx_header(EDX_KEY)) == EDX


def test_an_issuer_out_of_reach_is_no_refusal(sessions):
    gate = CredentialTester(
        sessions,
        jwt_issuer="https://idp",
        jwt_audience="us",
        jwt_jwks="https://127.0.0.1:1/jwks",
    )

    with closing(gate.records):
        problem = gate.refusal(jwt_header(jwt.encode({"iss": "https://idp"}, SECRET)))
    assert problem.status == 503
    assert "Retry-After" in problem.headers
