"""The cache's Redis side: exact bytes back, or nothing, and never an error."""

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import ConnectionError as Refused
from redis import ResponseError
from redis.exceptions import ReadOnlyError

from enrollment.runtime.cache import CACHE_TIMEOUT_SECONDS, MAX_CACHE_CONNECTIONS, Cache, connect
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def server():
    return fakeredis.FakeServer()


@pytest.fixture
def redis(server):
    return fakeredis.FakeRedis(server=server)


@pytest.fixture
def cache(redis, clock):
    return Cache(redis, clock=clock)


@given(st.binary())
def test_what_was_put_comes_back_to_the_byte(value):
    cache = Cache(fakeredis.FakeRedis(server=fakeredis.FakeServer()))

    cache.put("k", value, 60)

    assert cache.get("k") == value


def test_nothing_was_put_there(cache):
    assert cache.get("k") is None


def test_what_was_put_ends_by_itself(cache, redis):
    cache.put("k", b"value", 60)

    assert 0 < redis.pttl("k") <= 60_000


def test_what_would_end_at_once_is_not_put(cache, redis):
    cache.put("k", b"value", 0.0001)
    cache.put("k", b"value", -5)

    assert redis.keys() == []


@pytest.mark.parametrize("garbage", [b"", b"1", b"value", b"1\0\0\0\0value", b"\xff" * 50])
def test_garbage_counts_as_nothing(cache, redis, garbage):
    redis.set("k", garbage)

    assert cache.get("k") is None


@given(st.binary(min_size=1), st.data())
def test_a_value_that_was_cut_or_changed_counts_as_nothing(value, data):
    redis = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    cache = Cache(redis)
    cache.put("k", value, 60)
    kept = bytearray(redis.get("k"))
    place = data.draw(st.integers(0, len(kept) - 1))
    kept[place] ^= data.draw(st.integers(1, 255))

    redis.set("k", bytes(kept))
    assert cache.get("k") is None
    redis.set("k", bytes(kept[:place]))
    assert cache.get("k") is None


def test_another_type_under_the_key_counts_as_nothing_and_redis_as_well(cache, redis):
    redis.rpush("k", "a", "list")

    assert cache.get("k") is None
    assert not cache.is_open


def test_a_redis_that_is_away_is_asked_once_a_pause(cache, server, clock):
    cache.put("k", b"value", 60)
    server.connected = False

    assert cache.get("k") is None
    assert cache.is_open
    server.connected = True
    assert cache.get("k") is None

    clock.now += RETRY_INTERVAL
    assert not cache.is_open
    assert cache.get("k") == b"value"
    assert cache.get("k") == b"value"


def test_putting_into_a_redis_that_is_away_does_nothing(cache, server, redis):
    server.connected = False
    cache.put("k", b"value", 60)
    assert cache.is_open
    server.connected = True
    cache.put("k", b"value", 60)

    assert redis.keys() == []


def test_a_redis_that_only_reads_is_still_read(redis, cache, monkeypatch):
    cache.put("k", b"value", 60)

    def refuse(*_, **__):
        raise ReadOnlyError

    monkeypatch.setattr(redis, "set", refuse)
    cache.put("k", b"other", 60)

    assert not cache.is_open
    assert cache.get("k") == b"value"


@pytest.mark.parametrize("error", [Refused, TimeoutError, OSError, ResponseError, ValueError])
def test_no_error_comes_through(redis, cache, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(redis, "get", fail)
    monkeypatch.setattr(redis, "set", fail)

    assert cache.get("k") is None
    cache.put("k", b"value", 60)


def test_the_client_gives_up_at_once_and_does_not_try_again():
    pool = connect("redis://127.0.0.1:1/0").connection_pool
    settings = pool.connection_kwargs

    assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (
        CACHE_TIMEOUT_SECONDS,
        CACHE_TIMEOUT_SECONDS,
    )
    assert settings["retry"].get_retries() == 0
    assert pool.max_connections == MAX_CACHE_CONNECTIONS
    cache = Cache(connect("redis://127.0.0.1:1/0"))
    assert cache.get("k") is None
    assert cache.is_open
    cache.close()
