"""The embedded Redis does for the queue, the cache and the waiters what a real one does."""

import socket
import threading

import pytest
import redis
from kombu import Connection, Queue

from api_gateway.local_stack.embedded_redis import EmbeddedRedis


@pytest.fixture
def embedded():
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(params=[2, 3])
def client(embedded, request):
    with redis.Redis.from_url(embedded.url, protocol=request.param, socket_timeout=10) as made:
        yield made


def test_it_keeps_values_and_forgets_them(client):
    client.set("a", b"1\r\n2", ex=100)

    assert client.get("a") == b"1\r\n2"
    assert client.pipeline().incr("n").incr("n").execute() == [1, 2]
    client.flushdb()
    assert client.get("a") is None


def test_values_may_be_large(client):
    value = b"x" * 5_000_000
    client.set("a", value)

    assert client.get("a") == value


def test_it_runs_scripts(client):
    script = client.register_script("return redis.call('SET', KEYS[1], ARGV[1])")

    script(keys=["k"], args=["v"])

    assert client.get("k") == b"v"


def test_subscribers_hear_what_is_published(client):
    with client.pubsub() as heard:
        heard.subscribe("answered")
        assert heard.get_message(timeout=10)["type"] == "subscribe"

        client.publish("answered", "7")

        assert heard.get_message(timeout=10)["data"] == b"7"


def test_who_waits_for_a_message_gets_it(client, embedded):
    got = []
    with redis.Redis.from_url(embedded.url) as other:
        waiter = threading.Thread(target=lambda: got.append(other.brpop("q", 10)))
        waiter.start()
        client.lpush("q", "m")
        waiter.join()

    assert [list(one) for one in got] == [[b"q", b"m"]]


def test_a_client_that_is_gone_takes_no_message_out(client, embedded):
    with redis.Redis.from_url(embedded.url) as other:
        gone = other.connection_pool.get_connection()
        gone.send_command("BRPOP", "q", 0)
        client.ping()
        gone.disconnect()
    while len(client.client_list()) > 1:
        pass

    client.lpush("q", "m")

    assert client.lrange("q", 0, -1) == [b"m"]


def test_streams_are_read_by_groups(client):
    client.xadd("s", {"a": "b"})
    client.xgroup_create("s", "g", "0")

    assert b"a" in str(client.xreadgroup("g", "c", {"s": ">"})).encode()


def test_it_says_what_it_is(client):
    assert client.info("server")["redis_version"] == "7.4.0"
    assert client.info("memory")["maxmemory_policy"] == "noeviction"


def test_the_queue_works_over_it(embedded):
    queue = Queue("bulk", routing_key="bulk")
    with Connection(embedded.url) as connection:
        with connection.Producer() as producer:
            producer.publish({"id": 1}, routing_key="bulk", declare=[queue], serializer="json")
        got = []
        with connection.Consumer([queue], callbacks=[lambda body, message: got.append(body)]):
            connection.drain_events(timeout=10)

    assert got == [{"id": 1}]


@pytest.mark.parametrize("password", ["", ":wrong@"], ids=["none", "wrong"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_nobody_is_served_without_the_password(embedded, password, protocol):
    url = f"redis://{password}{embedded.url.rpartition('@')[2]}"

    with (
        redis.Redis.from_url(url, protocol=protocol) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.get("a")


def test_what_is_not_redis_is_told_so_and_cut_off(embedded):
    host, _, port = embedded.url.rpartition("@")[2].partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n")
        answer = stranger.makefile("rb").read()

    assert answer.startswith(b"-")


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        EmbeddedRedis(port=taken.getsockname()[1]).__enter__()
