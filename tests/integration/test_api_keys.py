"""API keys and self-made secrets, as the records keep them."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from enrollment.storage.credentials import api_keys, secrets

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


def test_a_secret_stays_what_it_first_was(sessions):
    def get(name, fresh):
        with sessions.begin() as session:
            return secrets.get_or_create(session, name, fresh)

    assert get("tokens", b"first\0") == b"first\0"
    assert get("tokens", b"second") == b"first\0"
    assert get("hooks", b"other") == b"other"


def test_all_who_make_a_secret_at_once_end_with_the_same(sessions):
    barrier = threading.Barrier(4)
    ended = []

    def make(fresh):
        barrier.wait()
        with sessions.begin() as session:
            ended.append(secrets.get_or_create(session, "tokens", fresh))

    threads = [threading.Thread(target=make, args=(bytes([n]) * 32,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ended) == 4
    assert len(set(ended)) == 1


def test_who_comes_second_takes_what_the_first_has_not_committed_yet(sessions):
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time: nobody can come between")
    ended = []

    def second():
        with sessions.begin() as session:
            ended.append(secrets.get_or_create(session, "tokens", b"second"))

    with sessions.begin() as session:
        first = secrets.get_or_create(session, "tokens", b"first")
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.3)
        assert thread.is_alive()
    thread.join()

    assert ended == [first] == [b"first"]
