"""Each mode of the proxy against an echo server, and the cut at COMMIT against PostgreSQL."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg
import pytest
from sqlalchemy import text

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.sessions import sessions_for
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import (
    COMMITS,
    BlackHole,
    CutBeforeReply,
    CutBeforeRequest,
    Delay,
    DropFraction,
    HalfOpen,
    Pass,
    Reset,
    Slow,
)
from tests.support.service_processes import wait_until

GONE = (ConnectionError, TimeoutError)


class Echo:
    """Echoes and records everything it receives."""

    def __init__(self):
        self.heard = b""
        self.closed = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection):
        with closing(connection):
            try:
                while data := connection.recv(65536):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                pass
        self.closed += 1

    def close(self):
        with suppress(OSError):  # it is closed already
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo.port) as made:
        yield made


@contextmanager
def connected(proxy: Proxy, seconds: float = 10.0):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=seconds) as connection:
        yield connection


def say(connection, what: bytes) -> bytes:
    connection.sendall(what)
    heard = b""
    while len(heard) < len(what):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError("the other side has closed")
        heard += piece
    return heard


def is_silent(connection, seconds: float = 0.3) -> bool:
    connection.settimeout(seconds)
    try:
        return not connection.recv(1) and False
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)


def test_everything_passes_by_default(proxy, echo):
    large = bytes(range(256)) * 4_000
    with connected(proxy) as connection:
        assert say(connection, b"hello") == b"hello"
        threading.Thread(target=connection.sendall, args=[large], daemon=True).start()
        heard = b""
        while len(heard) < len(large):
            heard += connection.recv(65536)
    assert heard == large
    assert proxy.seen.connections == 1
    wait_until(lambda: proxy.seen.bytes_passed == 2 * (5 + len(large)))
    wait_until(lambda: echo.closed == 1)


def test_a_delay_is_felt_by_connections_that_exist(proxy):
    with connected(proxy) as connection:
        say(connection, b"quick")
        proxy.set(Delay(0.2))
        begun = time.monotonic()
        assert say(connection, b"late") == b"late"
        assert time.monotonic() - begun >= 0.4
    assert proxy.seen.delayed_chunks == 2


def test_a_slow_line_gives_a_few_bytes_at_a_time_until_it_is_quick_again(proxy):
    with connected(proxy) as connection:
        proxy.set(Slow(bytes_per_second=200))
        begun = time.monotonic()
        assert say(connection, b"x" * 40) == b"x" * 40
        assert time.monotonic() - begun >= 0.2
        connection.sendall(b"y" * 100_000)
        proxy.set(Pass())
        heard = b""
        while len(heard) < 100_000:
            heard += connection.recv(65536)
    assert proxy.seen.delayed_chunks >= 2


def test_a_black_hole_holds_what_is_sent_and_gives_it_on_when_it_ends(proxy, echo):
    with connected(proxy) as known:
        say(known, b"before")
        proxy.set(BlackHole())
        known.sendall(b"within")
        with connected(proxy) as fresh:
            fresh.sendall(b"new")
            assert is_silent(known)
            assert is_silent(fresh)
            assert echo.heard == b"before"
            assert proxy.seen.bytes_held == 6
            proxy.set(Pass())
            assert fresh.recv(3) == b"new"
        assert known.recv(6) == b"within"


def test_a_reset_ends_what_exists_and_what_comes_until_it_is_over(proxy):
    with connected(proxy) as known:
        say(known, b"before")
        proxy.set(Reset())
        with pytest.raises(ConnectionResetError):
            say(known, b"after")
    with pytest.raises(GONE), connected(proxy) as fresh:
        say(fresh, b"new")
    wait_until(lambda: proxy.seen.resets == 2)
    proxy.set(Pass())
    with connected(proxy) as fresh:
        assert say(fresh, b"healed") == b"healed"


def test_a_half_open_connection_stays_silent_for_good_while_new_ones_pass(proxy, echo):
    with connected(proxy) as known:
        say(known, b"before")
        proxy.set(HalfOpen())
        wait_until(lambda: echo.closed == 1)
        known.sendall(b"lost")
        with connected(proxy) as fresh:
            assert say(fresh, b"new") == b"new"
            proxy.set(Pass())
            assert is_silent(known)
            assert say(fresh, b"still") == b"still"
        assert b"lost" not in echo.heard
    assert (proxy.seen.half_opened, proxy.seen.bytes_swallowed) == (1, 4)


def survivors(proxy, seed):
    """Returns which of some conversations are not broken off."""
    proxy.set(DropFraction(0.3, seed))
    kept = []
    for number in range(20):
        try:
            with connected(proxy) as connection:
                say(connection, b"word")
            kept.append(number)
        except GONE:
            pass
    return kept


def test_a_bad_line_breaks_a_share_of_the_connections_the_same_one_for_a_seed(proxy):
    first = survivors(proxy, 1)
    assert 0 < len(first) < 20
    assert proxy.seen.resets == 20 - len(first)
    assert survivors(proxy, 1) == first
    assert survivors(proxy, 2) != first


@pytest.mark.parametrize("when", [b"COMMIT", lambda data: b"COMMIT" in data])
def test_a_request_can_be_cut_before_the_server_gets_it(proxy, echo, when):
    proxy.set(CutBeforeRequest(when))
    with connected(proxy) as connection:
        say(connection, b"BEGIN")
        with pytest.raises(ConnectionResetError):
            say(connection, b"COMMIT")
    wait_until(lambda: echo.closed == 1)
    assert echo.heard == b"BEGIN"
    assert (proxy.seen.requests_cut, proxy.seen.replies_swallowed) == (1, 0)


@pytest.mark.parametrize("when", [b"COMMIT", lambda data: b"COMMIT" in data])
def test_a_reply_can_be_cut_after_the_server_did_what_was_asked(proxy, echo, when):
    proxy.set(CutBeforeReply(when))
    with connected(proxy) as connection:
        say(connection, b"BEGIN")
        with pytest.raises(ConnectionResetError):
            say(connection, b"COMMIT")
    assert echo.heard == b"BEGINCOMMIT"
    assert (proxy.seen.requests_cut, proxy.seen.replies_swallowed) == (0, 1)


def test_what_is_looked_for_is_found_across_chunks_and_once(proxy, echo):
    proxy.set(CutBeforeReply(b"COMMIT", p=0.0))
    with connected(proxy) as connection:
        say(connection, b"COM")
        say(connection, b"MIT")
        proxy.set(CutBeforeReply(b"COMMIT"))
        assert say(connection, b" and on") == b" and on"
        say(connection, b"COM")
        with pytest.raises(ConnectionResetError):
            say(connection, b"MIT")
    assert echo.heard.endswith(b"COMMIT")


def test_a_target_that_is_away_resets_the_client(proxy, echo):
    echo.close()
    with pytest.raises(GONE), connected(proxy) as connection:
        say(connection, b"anybody")
    wait_until(lambda: proxy.seen.refused == 1)


# --- PostgreSQL ---------------------------------------------------------------------------


@pytest.fixture
def database(postgres_url):
    """A table to write to, and a way to read it that bypasses the proxy."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as direct:
        direct.execute("CREATE TABLE kept (word text)")
        yield direct


@pytest.fixture
def wire(postgres_url, database):
    with Proxy("127.0.0.1", database.info.port) as made:
        yield made


def through(wire, postgres_url) -> str:
    """The URL of the database behind the proxy."""
    host, _, path = postgres_url.rpartition("/")
    return f"{host.rpartition(':')[0]}:{wire.port}/{path}"


def words(database) -> list[str]:
    return [word for (word,) in database.execute("SELECT word FROM kept ORDER BY word")]


def test_a_commit_takes_place_though_the_client_sees_an_error(wire, database, postgres_url):
    plain = through(wire, postgres_url).replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        connection.execute("INSERT INTO kept VALUES ('first')")
        connection.commit()
        wire.set(CutBeforeReply(COMMITS))
        connection.execute("INSERT INTO kept VALUES ('unknown')")
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert words(database) == ["first", "unknown"]
    assert wire.seen.replies_swallowed == 1


def test_a_commit_in_a_pipeline_is_found_too(wire, database, postgres_url):
    plain = through(wire, postgres_url).replace("+psycopg", "")
    wire.set(CutBeforeReply(COMMITS))
    connection = psycopg.connect(plain)
    with suppress(psycopg.OperationalError), connection.pipeline():
        connection.execute("INSERT INTO kept VALUES ('unknown')")
        connection.commit()
    wait_until(lambda: wire.seen.replies_swallowed == 1)
    assert connection.broken
    connection.close()


def test_a_commit_that_never_arrives_leaves_nothing(wire, database, postgres_url):
    sessions = sessions_for(through(wire, postgres_url))
    wire.set(CutBeforeRequest(COMMITS))
    with pytest.raises(DatabaseUnavailable), sessions.begin() as session:
        session.execute(text("INSERT INTO kept VALUES ('lost')"))
    assert words(database) == []
    sessions.dispose()


def test_sessions_of_the_service_do_not_know_what_came_of_a_cut_commit(
    wire, database, postgres_url
):
    sessions = sessions_for(through(wire, postgres_url))
    wire.set(CutBeforeReply(COMMITS))
    with pytest.raises(DatabaseUnavailable), sessions.begin() as session:
        session.execute(text("INSERT INTO kept VALUES ('kept')"))
    assert words(database) == ["kept"]

    wire.set(Pass())
    with sessions.begin() as session:
        session.execute(text("INSERT INTO kept VALUES ('more')"))
    assert words(database) == ["kept", "more"]
    sessions.dispose()


def test_a_transaction_cut_in_its_middle_leaves_nothing(wire, database, postgres_url):
    sessions = sessions_for(through(wire, postgres_url))
    wire.set(CutBeforeReply(b"INSERT INTO kept"))
    with pytest.raises(DatabaseUnavailable), sessions.begin() as session:
        session.execute(text("INSERT INTO kept VALUES ('half')"))
    assert wire.seen.replies_swallowed == 1
    assert words(database) == []
    sessions.dispose()
