"""URLs of the database, Redis and the broker: the supported ones, in the drivers' form."""

import re
from itertools import zip_longest
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

_POSTGRESQL = "postgresql+psycopg"
_SHORT_FORMS = frozenset({"postgres", "postgresql"})
_AMQP = frozenset({"amqp", "amqps", "pyamqp"})
_DEFAULT_PORT = "5432"
_SENTINEL_PORT = "26379"
#: Forms of a URL whose hosts are Sentinels, and the scheme of the Redis that they name.
_SENTINEL = {
    "redis+sentinel": "redis",
    "rediss+sentinel": "rediss",
    "sentinel": "redis",
}
#: The separator between URLs.
_NEXT_URL = re.compile(r";(?=[a-z]+://)")


def database_url(url: str) -> str:
    """Returns the URL for SQLAlchemy; several hosts in libpq's form become parameters.

    Raises ValueError, with a message that continues the name of the setting.
    """
    scheme, separator, rest = url.partition("://")
    if scheme in _SHORT_FORMS:
        scheme = _POSTGRESQL
    if scheme == "sqlite" and separator:
        return url
    if scheme != _POSTGRESQL or not separator:
        beginning = scheme.split(":", 1)[0]
        message = f"must begin with postgresql+psycopg:// or sqlite:///, not {beginning!r}"
        raise ValueError(message)
    parts = urlsplit(f"{scheme}://{rest}")
    credentials, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        _check_port(hosts)
        return _to_the_primary(f"{scheme}://{rest}", parse_qsl(parts.query))
    addresses = [_address(host) for host in hosts.split(",")]
    query = [("host", ",".join(host for host, _ in addresses))]
    query += [("port", ",".join(port for _, port in addresses))]
    query += parse_qsl(parts.query, keep_blank_values=True)
    if "target_session_attrs" not in dict(query):
        query.append(("target_session_attrs", "read-write"))
    return f"{scheme}://{credentials}{at}{parts.path}?{urlencode(query, safe=',:/')}"


def _to_the_primary(url: str, query: list[tuple[str, str]]) -> str:
    """Adds what chooses the host that takes writes, if the parameters name several hosts."""
    hosts = ",".join(value for name, value in query if name == "host")
    if "," not in hosts or "target_session_attrs" in dict(query):
        return url
    return f"{url}&target_session_attrs=read-write"


class SentinelUrl(NamedTuple):
    """The primary of a service that several Sentinels watch."""

    #: Host and port of each Sentinel.
    addresses: tuple[tuple[str, int], ...]
    service: str
    #: A URL of the first Sentinel that has user, password, database and parameters of Redis.
    redis: str
    sentinel_username: str | None
    sentinel_password: str | None


def sentinel_url(url: str) -> SentinelUrl | None:
    """Parses a URL whose hosts are Sentinels; returns None for another.

    The form is `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DATABASE`, with
    `sentinel_username` and `sentinel_password` among its parameters. Raises ValueError, with a
    message that continues the name of the setting.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SENTINEL:
        return None
    service, _, number = parts.path.strip("/").partition("/")
    if not service:
        message = (
            "must name the service that the Sentinels watch, as in "
            "redis+sentinel://host:26379,host:26379/mymaster/0"
        )
        raise ValueError(message)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    number = query.pop("db", number)
    _check_database(number)
    credentials, at, hosts = parts.netloc.rpartition("@")
    named = [_address(host, _SENTINEL_PORT) for host in hosts.split(",")]
    username, password = (query.pop(f"sentinel_{name}", None) for name in ("username", "password"))
    redis = SplitResult(
        _SENTINEL[parts.scheme],
        f"{credentials}{at}{hosts.partition(',')[0]}",
        f"/{number or 0}",
        urlencode(query),
        "",
    )
    return SentinelUrl(
        tuple((host, int(port)) for host, port in named),
        service,
        urlunsplit(redis),
        username,
        password,
    )


def ports(url: str) -> set[int]:
    """Returns the ports that a URL names, of all its hosts."""
    return {
        int(port)
        for each in _NEXT_URL.split(url)
        for host in _hosts(each).split(",")
        if (port := host.rpartition("]")[2].rpartition(":")[2]).isdigit() and ":" in host
    }


def unverified_hosts(database_url: str, sslmode: str | None) -> list[str]:
    """Returns the hosts of a PostgreSQL URL whose identity no connection verifies.

    Hosts on this machine need no TLS. `sslmode` applies where the URL has none (PGSSLMODE).
    """
    parts = urlsplit(database_url)
    if parts.scheme != _POSTGRESQL:
        return []
    query = dict(parse_qsl(parts.query))
    if query.get("sslmode", sslmode) == "verify-full":
        return []
    named = query.get("host", "").split(",") if "host" in query else [parts.hostname or ""]
    return [host for host in named if not _is_local(host)]


def _is_local(host: str) -> bool:
    """Whether it is a loopback address, a Unix socket, or none, which means a socket too."""
    name = host.lower()
    is_socket = not name or name.startswith(("/", "@"))
    return is_socket or name in {"localhost", "::1"} or name.startswith("127.")


def redis_url(url: str) -> str:
    """Returns the URL of one Redis server, or of the Sentinels that know it.

    Raises ValueError, with a message that continues the name of the setting.
    """
    scheme = url.split(":", 1)[0].lower()
    if "cluster" in scheme:
        message = (
            f"names a Redis Cluster ({scheme}), which cannot carry the queue: its keys would be on "
            "different servers. Use a single server, redis:// or rediss://"
        )
        raise ValueError(message)
    if scheme not in {"redis", "rediss", "unix", *_SENTINEL} or "://" not in url:
        message = (
            "must begin with redis:// or rediss://, or redis+sentinel:// for Redis Sentinel, "
            f"not {scheme!r}"
        )
        raise ValueError(message)
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    if _NEXT_URL.search(url) or ("," in hosts and scheme not in _SENTINEL):
        message = (
            "names several servers, but Redis is one server here: name a proxy, an address that "
            "moves with the primary, or Sentinels, as in "
            "redis+sentinel://host:26379,host:26379/mymaster/0"
        )
        raise ValueError(message)
    if sentinel_url(url) is not None:
        return f"redis+{url}" if scheme == "sentinel" else url
    _check_port(hosts)
    if parts.scheme != "unix":
        _check_database(parts.path.strip("/"))
    return url


def _check_database(number: str) -> None:
    if number and not (number.isascii() and number.isdigit()):
        message = f"must name its database by a number, as in redis://host:6379/0, not {number!r}"
        raise ValueError(message)


def broker_url(url: str) -> str:
    """Returns the URL of the queue: Redis, or RabbitMQ servers separated by `;`.

    Raises ValueError, with a message that continues the name of the setting.
    """
    servers = url.split(";")
    if servers[0].partition("://")[0] not in _AMQP:
        return redis_url(url)
    for server in servers:
        if server.partition("://")[0] not in _AMQP:
            message = "mixes RabbitMQ with another queue: name servers of one kind"
            raise ValueError(message)
        hosts = urlsplit(server).netloc.rpartition("@")[2]
        if "," in hosts:
            message = "must separate whole URLs of several servers by ';': amqp://a;amqp://b"
            raise ValueError(message)
        _check_port(hosts)
    return url


def without_secrets(url: str) -> str:
    """Returns scheme, hosts and path of each URL, without users, passwords and parameters."""
    return ";".join(_bare_url(each) for each in _NEXT_URL.split(url))


def _bare_url(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme.removesuffix('+psycopg')}://{_hosts(url)}{parts.path}"


def _hosts(url: str) -> str:
    """Returns the hosts of one URL with their ports, separated by commas."""
    parts = urlsplit(url)
    if hosts := parts.netloc.rpartition("@")[2]:
        return hosts
    given = parse_qsl(parts.query)
    names = [host for key, value in given if key == "host" for host in value.split(",")]
    numbers = [port for key, value in given if key == "port" for port in value.split(",")]
    pairs = zip_longest(names, numbers[: len(names)], fillvalue="")
    return ",".join(f"{name}:{number}".rstrip(":") for name, number in pairs)


def _address(host: str, default_port: str = _DEFAULT_PORT) -> tuple[str, str]:
    """Splits `host`, `host:port` or `[IPv6]:port`."""
    if not host:
        message = "has an empty host between its commas"
        raise ValueError(message)
    _check_port(host)
    name, separator, port = host.rpartition(":")
    if not separator or host.endswith("]"):
        name, port = host, ""
    return name.strip("[]"), port or default_port


def _check_port(host: str) -> None:
    _, separator, port = host.rpartition("]")[2].rpartition(":")
    if separator and port and not (port.isascii() and port.isdigit() and int(port[:6]) < 2**16):
        message = f"has the port {port!r}, which is no number below 65536"
        raise ValueError(message)
