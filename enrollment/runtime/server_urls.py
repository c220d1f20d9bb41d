"""URLs of the database, Redis and the broker: the supported ones, in the drivers' form."""

import re
from itertools import zip_longest
from urllib.parse import parse_qsl, urlencode, urlsplit

_POSTGRESQL = "postgresql+psycopg"
_SHORT_FORMS = frozenset({"postgres", "postgresql"})
_AMQP = frozenset({"amqp", "amqps", "pyamqp"})
_DEFAULT_PORT = "5432"
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
        return f"{scheme}://{rest}"
    addresses = [_address(host) for host in hosts.split(",")]
    query = [("host", ",".join(host for host, _ in addresses))]
    query += [("port", ",".join(port for _, port in addresses))]
    query += parse_qsl(parts.query, keep_blank_values=True)
    if "target_session_attrs" not in dict(query):
        query.append(("target_session_attrs", "read-write"))
    return f"{scheme}://{credentials}{at}{parts.path}?{urlencode(query, safe=',:/')}"


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
    """Returns the URL of one Redis server.

    Raises ValueError, with a message that continues the name of the setting.
    """
    scheme = url.split(":", 1)[0].lower()
    if "cluster" in scheme:
        message = (
            f"names a Redis Cluster ({scheme}), which cannot carry the queue: its keys would be on "
            "different servers. Use a single server, redis:// or rediss://"
        )
        raise ValueError(message)
    if not url.startswith(("redis://", "rediss://", "unix://")):
        message = f"must begin with redis:// or rediss://, not {scheme!r}"
        raise ValueError(message)
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    if "," in hosts or ";" in url:
        message = (
            "names several servers, but Redis is one server here: name a proxy or an address that "
            "moves with the primary"
        )
        raise ValueError(message)
    _check_port(hosts)
    number = parts.path.strip("/")
    if parts.scheme != "unix" and number and not (number.isascii() and number.isdigit()):
        message = f"must name its database by a number, as in redis://host:6379/0, not {number!r}"
        raise ValueError(message)
    return url


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
    given = parse_qsl(parts.query)
    hosts = parts.netloc.rpartition("@")[2]
    if not hosts:
        names = [host for key, value in given if key == "host" for host in value.split(",")]
        ports = [port for key, value in given if key == "port" for port in value.split(",")]
        pairs = zip_longest(names, ports[: len(names)], fillvalue="")
        hosts = ",".join(f"{name}:{port}".rstrip(":") for name, port in pairs)
    return f"{parts.scheme.partition('+')[0]}://{hosts}{parts.path}"


def _address(host: str) -> tuple[str, str]:
    """Splits `host`, `host:port` or `[IPv6]:port`."""
    if not host:
        message = "has an empty host between its commas"
        raise ValueError(message)
    _check_port(host)
    name, separator, port = host.rpartition(":")
    if not separator or host.endswith("]"):
        name, port = host, ""
    return name.strip("[]"), port or _DEFAULT_PORT


def _check_port(host: str) -> None:
    _, separator, port = host.rpartition("]")[2].rpartition(":")
    if separator and port and not (port.isascii() and port.isdigit() and int(port[:6]) < 2**16):
        message = f"has the port {port!r}, which is no number below 65536"
        raise ValueError(message)
