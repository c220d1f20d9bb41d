"""When keys were last used: recorded beside requests, which never wait for it or fail by it."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from api_gateway.auth.authentication import KEY_CACHE_SECONDS
from api_gateway.auth.key_usage import RECORD_INTERVAL_SECONDS
from enrollment.storage.credentials import api_keys
from tests.support.credentials import EDX_KEY, NOW, a_request, edx_header


def last_uses(gate):
    with gate.sessions.read() as session:
        return [key.last_used_at for key in api_keys.all_keys(session)]


def test_the_use_of_a_key_is_recorded_at_most_once_a_minute(gate, statements):
    key = gate.key("read")
    statements.clear()

    for _ in range(5):
        gate.see(edx_header(key))
        gate.now += KEY_CACHE_SECONDS
        gate.wall += KEY_CACHE_SECONDS
    assert last_uses(gate) == [NOW]
    assert len([each for each in statements if each.startswith("UPDATE")]) == 1

    gate.wall += RECORD_INTERVAL_SECONDS
    gate.see(edx_header(key))
    elapsed = 5 * KEY_CACHE_SECONDS + RECORD_INTERVAL_SECONDS
    assert last_uses(gate) == [NOW + timedelta(seconds=elapsed)]


def test_other_keys_are_not_recorded(gate):
    key = gate.key("read")
    gate.key("enroll", name="other")
    expired = gate.key("read", name="expired", expires_at=NOW)

    gate.see(edx_header(key))
    gate.see(edx_header(EDX_KEY))
    gate.refusal(edx_header(expired))

    assert last_uses(gate) == [NOW, None, None]


def test_no_request_waits_for_the_record(gate):
    key = gate.key("read")
    gate_open = asyncio.Event()

    async def first_request():
        write = gate.records.write

        async def held(*arguments):
            await gate_open.wait()
            return await write(*arguments)

        gate.records.write = held
        caller = await gate.authenticator.identify(a_request(edx_header(key)))
        assert gate.authenticator._usage._writing is not None
        gate_open.set()
        await gate.authenticator._usage._writing
        return caller

    assert asyncio.run(first_request()).name == "key:sis"
    assert last_uses(gate) == [NOW]


def test_uses_that_come_meanwhile_are_written_together_by_the_next(gate, statements):
    keys = [gate.key("read", name=f"k{n}") for n in range(4)]

    async def all_at_once():
        for key in keys:
            await gate.authenticator.identify(a_request(edx_header(key)))
        while writing := gate.authenticator._usage._writing:
            await asyncio.wait([writing])
            await asyncio.sleep(0)

    asyncio.run(all_at_once())

    assert last_uses(gate) == [NOW] * 4


@pytest.mark.parametrize("column", ["last_used_at"])
def test_no_request_fails_if_it_cannot_be_recorded(gate, column):
    key = gate.key("read")
    gate.see(edx_header(key))
    with gate.sessions.begin() as session:
        session.execute(text(f"ALTER TABLE api_key RENAME COLUMN {column} TO was"))
    usage = gate.authenticator._usage
    gate.wall += RECORD_INTERVAL_SECONDS

    async def note():
        usage.note(1)
        await asyncio.wait([usage._writing])
        await asyncio.sleep(0)

    with capture_logs() as logs:
        asyncio.run(note())

    assert [entry["event"] for entry in logs] == ["key.use_not_recorded"]
    assert gate.see(edx_header(key)).name == "key:sis"
