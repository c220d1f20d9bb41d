"""The servers that other tests rely on are there, empty, and gone when they should be."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, text

from tests.support.binaries import postgres_programs, redis_program
from tests.support.servers import (
    create_database,
    drop_database,
    embedded_redis,
    free_port,
    postgres_process,
    redis_process,
)

ROOT = Path(__file__).parents[2]

OWNER = """
import sys, time
from tests.support.servers import postgres_process, redis_process
with postgres_process() as postgres, redis_process() as redis:
    print(postgres.pid, redis.pid, flush=True)
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_postgresql_is_recent_enough(postgres_url):
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        assert int(connection.scalar(text("SHOW server_version_num"))) >= 140000
        assert connection.scalar(text("SHOW timezone")) == "UTC"
    engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_an_empty_database(postgres_url, turn):
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_behind (turn int)"))
    engine.dispose()


def test_a_database_can_be_copied_from_a_template(postgres_base_url):
    original = create_database(postgres_base_url)
    with psycopg.connect(original.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE course AS SELECT 'a' AS id")
    copy = create_database(postgres_base_url, template=original.rpartition("/")[2])
    with psycopg.connect(copy.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT id FROM course").fetchall() == [("a",)]
    drop_database(postgres_base_url, original)
    drop_database(postgres_base_url, copy)


def test_redis_is_recent_enough(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
        version = client.info("server")["redis_version"]
    assert tuple(int(part) for part in version.split(".")[:2]) >= (6, 2)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_an_empty_redis(redis_url, turn):
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left_behind", turn)


def test_a_redis_with_an_append_only_file_remembers_a_kill():
    with redis_process(appendonly=True) as server, redis.Redis.from_url(server.url) as client:
        client.config_set("appendfsync", "always")
        client.set("kept", "yes")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("kept")
        server.start()
        assert client.get("kept") == b"yes"


def test_a_held_redis_is_deaf_until_it_is_released():
    with redis_process() as server:
        url = f"{server.url}?socket_timeout=1.0"
        with redis.Redis.from_url(url, retry=None) as client:
            server.hold()
            with pytest.raises(redis.TimeoutError):
                client.ping()
            server.release()
            assert client.ping()


def test_a_held_postgresql_is_deaf_until_it_is_released():
    with (
        ThreadPoolExecutor(1) as pool,
        postgres_process() as server,
        psycopg.connect(server.url.replace("+psycopg", "")) as connection,
    ):
        server.hold()
        answer = pool.submit(connection.execute, "SELECT 1")
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        server.release()
        assert answer.result(5).fetchone() == (1,)


def test_a_postgresql_comes_back_after_a_kill_with_what_was_committed():
    with postgres_process() as server:
        plain = server.url.replace("+psycopg", "")
        with psycopg.connect(plain) as connection:
            connection.execute("CREATE TABLE kept (id int)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(plain)
        server.start()
        with psycopg.connect(plain) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_server_uses_the_port_it_was_given():
    port = free_port()
    with redis_process(port=port) as server:
        assert server.url == f"redis://127.0.0.1:{port}/0"


def test_the_embedded_redis_answers_at_once_and_is_gone_at_the_end():
    with embedded_redis() as url, redis.Redis.from_url(url) as client:
        client.set("a", 1)
        took = []
        for _ in range(50):
            begun = time.perf_counter()
            assert client.get("a") == b"1"
            took.append(time.perf_counter() - begun)
        assert min(took) < 0.03, "each waited for Nagle's algorithm: 40 ms"
    with redis.Redis.from_url(url, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie to a parent is Linux's")
def test_servers_end_with_a_killed_owner():
    assert postgres_programs()
    assert redis_program()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert [is_running(pid) for pid in pids] == [True, True]
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_running(pid) for pid in pids)
