"""How long the gateway keeps what it knows about a credential."""

import asyncio
import json
from contextlib import closing

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from api_gateway.auth import api_keys
from api_gateway.auth.authentication import KEY_CACHE_SECONDS, TOKEN_CACHE_SECONDS
from tests.support.credentials import CredentialTester, a_request, edx_header, jwt_header, signed


def test_a_key_is_looked_up_once_in_a_while(gate):
    key = gate.key("read")

    for _ in range(3):
        gate.see(edx_header(key))
    assert gate.records.asked == 1
    gate.now += KEY_CACHE_SECONDS
    gate.see(edx_header(key))
    assert gate.records.asked == 2


def test_a_revocation_holds_after_a_moment(gate):
    key = gate.key("read")
    gate.see(edx_header(key))
    gate.revoke_all()

    gate.now += KEY_CACHE_SECONDS
    assert gate.refusal(edx_header(key)).status == 401


def test_a_key_that_is_unknown_is_not_looked_up_again_and_again(gate):
    text, _ = api_keys.new_api_key()

    for _ in range(3):
        gate.refusal(edx_header(text))
    assert gate.records.asked == 1


def test_requests_with_one_key_at_once_ask_the_records_once(gate):
    request = a_request(edx_header(gate.key("read")))

    async def at_once():
        return await asyncio.gather(*(gate.authenticator.identify(request) for _ in range(20)))

    assert {caller.name for caller in asyncio.run(at_once())} == {"key:sis"}
    assert gate.records.asked == 1


def test_a_client_that_hangs_up_takes_nobody_with_it(gate):
    request = a_request(edx_header(gate.key("read")))

    async def one_hangs_up():
        first = asyncio.create_task(gate.authenticator.identify(request))
        second = asyncio.create_task(gate.authenticator.identify(request))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(one_hangs_up()).name == "key:sis"


def test_a_gateway_that_stops_leaves_no_question_behind(gate):
    request = a_request(edx_header(gate.key("read")))

    async def stops():
        asking = asyncio.create_task(gate.authenticator.identify(request))
        await asyncio.sleep(0)
        return asking

    assert asyncio.run(stops()).cancelled()
    assert not gate.authenticator._lookups


def test_only_so_many_answers_are_kept(sessions):
    gate = CredentialTester(sessions, bound=2)
    texts = [gate.key("read", name=name) for name in ("a", "b", "c")]

    with closing(gate.records):
        for text in (*texts[:2], texts[0], texts[2]):
            gate.see(edx_header(text))
        assert gate.records.asked == 3
        gate.see(edx_header(texts[0]))
        assert gate.records.asked == 3
        gate.see(edx_header(texts[1]))
        assert gate.records.asked == 4


def test_a_token_is_verified_once_in_a_while(gate):
    header = jwt_header(signed("ada", minutes=0.1))
    gate.see(header)

    gate.wall += 6
    gate.now += 5.5
    assert gate.see(header).username == "ada"
    gate.now += 0.5
    assert gate.refusal(header).status == 401


def test_however_long_it_lives_a_token_is_verified_again(gate):
    header = jwt_header(signed("ada", minutes=1))
    gate.see(header)

    gate.wall += 60
    gate.now += TOKEN_CACHE_SECONDS - 0.5
    assert gate.see(header).username == "ada"
    gate.now += 0.5
    assert gate.refusal(header).status == 401


def test_a_key_that_left_the_issuers_file_is_refused_within_half_a_minute(sessions, tmp_path):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": "one"}
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk, jwk | {"kid": "two"}]}))
    gate = CredentialTester(
        sessions, jwt_issuer="https://idp", jwt_audience="us", jwt_jwks=str(file)
    )
    issued = int(gate.wall)
    claims = {"iss": "https://idp", "aud": "us", "sub": "ada", "iat": issued, "exp": issued + 900}
    token = jwt.encode(claims, private, algorithm="RS256", headers={"kid": "one"})

    with closing(gate.records):
        seconds = 0
        while seconds < 25:  # the client asks all the time, so its token is always in the cache
            assert gate.see(jwt_header(token)).username == "ada"
            seconds, gate.now, gate.wall = seconds + 1, gate.now + 1, gate.wall + 1
        file.write_text(json.dumps({"keys": [jwk | {"kid": "two"}]}))
        while gate.is_believed(token):
            seconds, gate.now, gate.wall = seconds + 1, gate.now + 1, gate.wall + 1
        assert seconds - 25 <= 30
