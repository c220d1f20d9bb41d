"""URLs of servers: the forms that are supported, and a sentence for those that are not."""

import psycopg
import pytest
from sqlalchemy.engine import make_url

from enrollment.runtime.server_urls import (
    broker_url,
    database_url,
    ports,
    redis_url,
    sentinel_url,
    unverified_hosts,
    without_secrets,
)


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ("postgresql://h/d", {"host": "h", "dbname": "d"}),
        ("postgres://u:p%40x@h:6/d", {"user": "u", "password": "p@x", "host": "h", "port": 6}),
        ("postgresql+psycopg://[::1]:6/d", {"host": "::1", "port": 6}),
        ("postgres://A:1,B:2/d", {"host": "A,B", "port": "1,2", "dbname": "d"}),
        ("postgres://A,B:2/d", {"host": "A,B", "port": "5432,2"}),
        ("postgres://A,[::1]:6,[fe80::2]/d", {"host": "A,::1,fe80::2", "port": "5432,6,5432"}),
        ("postgres://u:p%40x@A,B/d", {"user": "u", "password": "p@x", "host": "A,B"}),
        ("postgres://A,B/d?sslmode=require", {"sslmode": "require"}),
        ("postgres://A,B/d", {"target_session_attrs": "read-write"}),
        ("postgres://A,B/d?target_session_attrs=any", {"target_session_attrs": "any"}),
        ("postgres://u@/d?host=A:1&host=B:2", {"host": "A,B", "port": "1,2"}),
        ("postgres://u@/d?host=A:1&host=B:2", {"target_session_attrs": "read-write"}),
        ("postgres://u@/d?host=A,B&port=1,2", {"target_session_attrs": "read-write"}),
        ("postgres://u@/d?host=A,B&target_session_attrs=any", {"target_session_attrs": "any"}),
    ],
)
def test_a_database_s_url_gives_the_driver_these_arguments(given, arguments):
    url = make_url(database_url(given))

    _, made = url.get_dialect()().create_connect_args(url)

    assert made.items() >= arguments.items()
    psycopg.conninfo.make_conninfo(**made)  # libpq knows every one of them


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///x", "sqlite:////tmp/x"])
def test_sqlite_stays_as_it_is(url):
    assert database_url(url) == url


@pytest.mark.parametrize(
    ("read", "url", "message"),
    [
        (database_url, "mysql://h/d", "must begin with postgresql+psycopg:// or sqlite:///"),
        (database_url, "u:hunter2@h/d", "not 'u'"),
        (database_url, "postgres://h:abc/d", "the port 'abc'"),
        (database_url, "postgres://h:65536/d", "the port '65536'"),
        (database_url, "postgres://a,,b/d", "an empty host"),
        (database_url, "postgres://a:1,b:x/d", "the port 'x'"),
        (redis_url, "redis://a:1,b:2/0", "names several servers"),
        (redis_url, "redis://a;redis://b", "names several servers"),
        (redis_url, "redis://:hunter2@a:x/0", "the port 'x'"),
        (redis_url, "redis://:hunter2@a/abc", "must name its database by a number"),
        (redis_url, "sentinel://:hunter2@a", "must name the service that the Sentinels watch"),
        (redis_url, "sentinel://:hunter2@a;sentinel://b/m", "names several servers"),
        (redis_url, "sentinel://:hunter2@a,b:x/m", "the port 'x'"),
        (redis_url, "sentinel://:hunter2@a,,b/m", "an empty host"),
        (redis_url, "redis+sentinel://:hunter2@a/m/n", "must name its database by a number"),
        (redis_url, "redis+http://:hunter2@a", "or redis+sentinel:// for Redis Sentinel"),
        (redis_url, "redis+cluster://:hunter2@a", "names a Redis Cluster"),
        (broker_url, "amqp://u:hunter2@a,b", "separate whole URLs of several servers by ';'"),
        (broker_url, "amqp://a;redis://b", "mixes RabbitMQ with another queue"),
        (broker_url, "amqp://a:x", "the port 'x'"),
        (broker_url, "kafka://a", "must begin with redis:// or rediss://"),
    ],
)
def test_what_is_not_supported_is_refused_in_a_sentence(read, url, message):
    with pytest.raises(ValueError, match=r".") as refused:
        read(url)

    assert message in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "addresses", "service", "redis"),
    [
        ("sentinel://a/m", [("a", 26379)], "m", "redis://a/0"),
        ("redis+sentinel://a:1,[::1]/m/3", [("a", 1), ("::1", 26379)], "m", "redis://a:1/3"),
        ("rediss+sentinel://u:p%40x@a,b/m", [("a", 26379), ("b", 26379)], "m", "rediss://u:p%40x@a/0"),
        ("sentinel://a/m?sentinel_password=q&socket_timeout=3", [("a", 26379)], "m",
         "redis://a/0?socket_timeout=3"),
    ],
)  # fmt: skip
def test_sentinels_are_several_hosts_and_a_service(given, addresses, service, redis):
    found = sentinel_url(redis_url(given))

    assert (list(found.addresses), found.service, found.redis) == (addresses, service, redis)
    assert found.sentinel_password == ("q" if "sentinel_password" in given else None)


@pytest.mark.parametrize("url", ["redis://a/0", "amqp://a", "unix:///run/redis.sock", "sqlite://"])
def test_other_urls_name_no_sentinels(url):
    assert sentinel_url(url) is None


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("amqp://u:7@a:1//;amqp://b:2//", {1, 2}),
        ("redis+sentinel://:7@a:5,b:6,c/m", {5, 6}),
        (database_url("postgres://u:7@A:1,B/d"), {1, 5432}),
        (database_url("postgres://u@/d?host=A:1&host=B:2"), {1, 2}),
        ("redis://[::1]:6/0", {6}),
        ("postgresql+psycopg://u:7@[::1]/x", set()),
        ("postgresql+psycopg:///x?host=/run/pg", set()),
        ("unix:///run/redis.sock", set()),
        ("sqlite:////srv/x:5/a", set()),
    ],
)
def test_the_ports_of_all_hosts_are_known(url, named):
    assert ports(url) == named


@pytest.mark.parametrize(
    "url", ["amqp://a", "amqp://a:1;amqp://b:2", "redis://h/3", "unix:///run/redis.sock"]
)
def test_the_queue_is_redis_or_servers_of_rabbitmq(url):
    assert broker_url(url) == url


@pytest.mark.parametrize(
    ("url", "sslmode", "hosts"),
    [
        ("postgresql://u@db.example.org/x", None, ["db.example.org"]),
        ("postgresql://u:p@10.0.0.5:5432/x", None, ["10.0.0.5"]),
        ("postgresql://u@db/x?sslmode=require", None, ["db"]),
        ("postgresql://u@db/x?sslmode=verify-ca", "verify-full", ["db"]),
        ("postgresql://u@db/x?sslmode=verify-full", None, []),
        ("postgresql://u@db/x", "verify-full", []),
        ("postgresql://u@a:1,127.0.0.1,b:2/x", None, ["a", "b"]),
        ("postgresql://u@127.0.0.1:5432/x", None, []),
        ("postgresql://u@127.1/x", None, []),
        ("postgresql://u@LOCALHOST/x", None, []),
        ("postgresql://u@[::1]:5432/x", None, []),
        ("postgresql://u@[2001:db8::1]/x", None, ["2001:db8::1"]),
        ("postgresql:///x", None, []),
        ("postgresql://u@/x?host=/var/run/postgresql", None, []),
        ("postgresql://u@/x?host=db", None, ["db"]),
        ("postgresql://localhost.example.org/x", None, ["localhost.example.org"]),
        ("sqlite:///x", None, []),
    ],
)
def test_hosts_that_are_not_verified_are_known(url, sslmode, hosts):
    assert unverified_hosts(database_url(url), sslmode) == hosts


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://u:hunter2@h:6/d?sslpassword=hunter2", "postgresql://h:6/d"),
        ("postgresql+psycopg://h/d", "postgresql://h/d"),
        (database_url("postgres://u:hunter2@A:1,B/d"), "postgresql://A:1,B:5432/d"),
        ("postgresql+psycopg://u@/d?host=A:1&host=B:2", "postgresql://A:1,B:2/d"),
        ("postgresql+psycopg://u:hunter2@/d?host=/run/pg", "postgresql:///run/pg/d"),
        ("sqlite:////srv/a;b.sqlite3", "sqlite:////srv/a;b.sqlite3"),
        ("sqlite://", "sqlite://"),
        ("rediss://:hunter2@h:6/3?ssl_ca_certs=x", "rediss://h:6/3"),
        ("redis+sentinel://:hunter2@a:1,b/m/0", "redis+sentinel://a:1,b/m/0"),
        ("unix://:hunter2@/run/redis.sock?db=3", "unix:///run/redis.sock"),
        ("amqp://u:hunter2@a//;amqp://u:hunter2@b//", "amqp://a//;amqp://b//"),
    ],
)
def test_a_url_is_shown_without_users_passwords_and_parameters(url, shown):
    assert without_secrets(url) == shown
