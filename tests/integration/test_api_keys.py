"""API keys, as the records keep them."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from enrollment.storage.credentials import api_keys

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = b"d" * 32


def add(sessions, name="sis", scopes=frozenset({"enroll"}), digest=DIGEST, now=NOON):
    with sessions.begin() as session:
        return api_keys.add(session, name=name, scopes=scopes, digest=digest, now=now)


def found(sessions, digest=DIGEST):
    with sessions.read() as session:
        return api_keys.find_by_digest(session, digest)


def test_a_key_is_found_by_its_hash_alone(sessions):
    number = add(sessions, scopes=frozenset({"read", "enroll"}))

    assert found(sessions) == api_keys.ApiKey(
        number, "sis", frozenset({"enroll", "read"}), NOON, revoked_at=None
    )
    assert found(sessions, b"e" * 32) is None
    assert found(sessions, b"") is None


def test_a_key_may_have_no_scope(sessions):
    add(sessions, scopes=frozenset())

    assert found(sessions).scopes == frozenset()


def test_two_keys_may_have_one_name_but_not_one_hash(sessions):
    add(sessions)
    add(sessions, digest=b"e" * 32)

    with pytest.raises(IntegrityError):
        add(sessions)
    with sessions.read() as session:
        assert [key.name for key in api_keys.all_keys(session)] == ["sis", "sis"]


def test_a_revoked_key_is_listed_but_no_longer_found(sessions):
    number = add(sessions)
    later = NOON + timedelta(hours=1)

    with sessions.begin() as session:
        assert api_keys.revoke(session, number, now=later)

    assert found(sessions) is None
    with sessions.read() as session:
        assert [(key.id, key.revoked_at) for key in api_keys.all_keys(session)] == [(number, later)]


def test_a_key_is_revoked_once(sessions):
    number = add(sessions)
    with sessions.begin() as session:
        api_keys.revoke(session, number, now=NOON)

    with sessions.begin() as session:
        assert not api_keys.revoke(session, number, now=NOON + timedelta(hours=1))
        assert not api_keys.revoke(session, number + 1, now=NOON)
    with sessions.read() as session:
        assert api_keys.all_keys(session)[0].revoked_at == NOON


def test_keys_are_listed_oldest_first(sessions):
    numbers = [add(sessions, name=name, digest=name.encode()) for name in ("c", "a", "b")]

    with sessions.read() as session:
        listed = api_keys.all_keys(session)
    assert [key.id for key in listed] == numbers
    assert [key.name for key in listed] == ["c", "a", "b"]


def test_an_expired_key_is_found_and_known_to_be_over(sessions):
    with sessions.begin() as session:
        api_keys.add(
            session,
            name="sis",
            scopes=frozenset({"read"}),
            digest=DIGEST,
            now=NOON,
            expires_at=NOON + timedelta(days=1),
        )

    key = found(sessions)

    assert key.expires_at == NOON + timedelta(days=1)
    assert key.is_live(NOON)
    assert not key.is_live(key.expires_at)
    assert key.has_expired(key.expires_at)


def test_the_last_use_of_a_key_never_goes_back(sessions):
    number = add(sessions)
    other = add(sessions, digest=b"e" * 32)

    for minutes in (5, 3):
        with sessions.begin() as session:
            api_keys.record_use(session, {number: NOON + timedelta(minutes=minutes)})

    with sessions.read() as session:
        used = {key.id: key.last_used_at for key in api_keys.all_keys(session)}
    assert used == {number: NOON + timedelta(minutes=5), other: None}


def test_keys_of_a_name_are_found_also_revoked_ones(sessions):
    number = add(sessions)
    add(sessions, name="sis2", digest=b"f" * 32)
    with sessions.begin() as session:
        api_keys.revoke(session, number, now=NOON)

    with sessions.begin() as session:
        api_keys.lock_names(session)
        assert [key.id for key in api_keys.find_by_name(session, "sis")] == [number]


def test_whoever_creates_a_key_waits_for_another_who_does(sessions):
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time")
    seen = []

    def second():
        with sessions.begin() as session:
            api_keys.lock_names(session)
            seen.extend(api_keys.find_by_name(session, "sis"))

    with sessions.begin() as session:
        api_keys.lock_names(session)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.3)
        assert thread.is_alive()
        api_keys.add(session, name="sis", scopes=frozenset(), digest=DIGEST, now=NOON)
    thread.join()

    assert [key.name for key in seen] == ["sis"]
