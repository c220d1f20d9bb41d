"""Checks addresses and URLs of other systems, so that no caller reaches internal ones through us.

Pure: names are resolved elsewhere. `ipaddress.is_global` is not enough: it is true for multicast
addresses, for site-local ones, and for those that contain an IPv4 address (6to4, NAT64).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from urllib.parse import urlsplit

#: Longest accepted URL.
MAX_URL = 2_000
#: Ports of public destinations.
PUBLIC_PORTS = frozenset({443, 8443})
#: Ports of databases, queues and of other services, refused even where private ones are allowed.
SERVICE_PORTS = frozenset({22, 25, 465, 587, 2375, 2379, 5432, 5671, 5672, 6379, 6432, 9092, 11211})
_SCHEME_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9_.-]*[a-z0-9])?")
_GLOBAL_IPV6 = IPv6Network("2000::/3")
#: Networks that `is_global` takes for global, or that are better not reached.
_SPECIAL_IPV4 = tuple(
    map(IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"))
)
_SPECIAL_IPV6 = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20", "64:ff9b:1::/48"))
)
_NAT64, _SIX_TO_FOUR = IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")
#: Metadata services, which give credentials to everybody who asks from this machine.
_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254"))
)
#: The upper half of an interface id that has an IPv4 address in its lower half (RFC 5214).
_ISATAP = 0x5EFE
_LOW_32 = (1 << 32) - 1


#: The way out of a refusal, for who tries the service on one machine or in a closed network.
_IF_PRIVATE = " (unless the operator sets ENROLL_PRIVATE_DESTINATIONS=true)"


class RefusedDestination(ValueError):
    """A URL or an address that must not be called; the message says why, without the address."""


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """Which destinations are allowed: public ones by https only, or private ones, too."""

    allows_private: bool = False
    refused_ports: frozenset[int] = SERVICE_PORTS


@dataclass(frozen=True, slots=True)
class Target:
    """Scheme, host and port of a URL that may be resolved and checked."""

    scheme: str
    host: str
    port: int


def parse_target(url: str, policy: OutboundPolicy) -> Target:
    """Parses the URL of a destination, once. Raises RefusedDestination.

    A host that is an address is checked as well.
    """
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or {" ", "\\"} & set(url):
        message = "it is too long, or has a blank or a character outside printable ASCII"
        raise RefusedDestination(message)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        message = "it is no URL"
        raise RefusedDestination(message) from error
    if parts.scheme not in ({"http", "https"} if policy.allows_private else {"https"}):
        message = "it must begin with https://" + _IF_PRIVATE * (parts.scheme == "http")
        raise RefusedDestination(message)
    if "@" in parts.netloc or parts.fragment:
        message = "it must have no user, no password and no fragment"
        raise RefusedDestination(message)
    port = _SCHEME_PORTS[parts.scheme] if port is None else port
    target = Target(parts.scheme, parts.hostname or "", port)
    _check_port(target.port, policy)
    _check_host(target.host, policy)
    return target


def _check_port(port: int, policy: OutboundPolicy) -> None:
    if port in policy.refused_ports:
        message = f"port {port} is not allowed"
        raise RefusedDestination(message)
    if not (policy.allows_private or port in PUBLIC_PORTS):
        message = f"port {port} is not allowed" + _IF_PRIVATE
        raise RefusedDestination(message)


def _check_host(host: str, policy: OutboundPolicy) -> None:
    if ":" in host:
        check_address(host, policy)
        return
    if not _HOST.fullmatch(host) or len(host) > 253:  # noqa: PLR2004 (RFC 1035)
        message = "it has no valid host name"
        raise RefusedDestination(message)
    last = host.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        # an address, as the resolver reads it, must be written as one: 127.1, 0x7f000001
        check_address(host, policy)
    elif not policy.allows_private and (last in {"localhost", "local", "internal"} or last == host):
        message = "its host is a local name" + _IF_PRIVATE
        raise RefusedDestination(message)


def check_address(text: str, policy: OutboundPolicy) -> None:
    """Checks that an address may be connected to. Raises RefusedDestination."""
    try:
        address = ip_address(text)
    except ValueError as error:
        message = "its host is no address in the usual notation"
        raise RefusedDestination(message) from error
    forms = tuple(_forms(address))
    if any(_is_never_allowed(form) for form in forms):
        message = "its address is one of a metadata service, or no address of one machine"
        raise RefusedDestination(message)
    if not (policy.allows_private or all(map(_is_public, forms))):
        message = "its address is not public" + _IF_PRIVATE
        raise RefusedDestination(message)


def _forms(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yields an address, and the IPv4 addresses that routers or hosts may read in it."""
    yield address
    if isinstance(address, IPv4Address):
        return
    value = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif value >> 32 == 0 or address in _NAT64 or (value >> 32) & 0xFDFFFFFF == _ISATAP:
        yield IPv4Address(value & _LOW_32)  # compatible, NAT64, ISATAP
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(value >> 80 & _LOW_32)


def _is_never_allowed(address: IPv4Address | IPv6Address) -> bool:
    """Returns whether even an operator's own networks do not contain the address."""
    if isinstance(address, IPv6Address) and (address.scope_id or address.is_site_local):
        return True
    is_loopback = address.is_loopback
    return (
        address in _METADATA
        or address.is_multicast
        or address.is_link_local
        or (address.is_unspecified or int(address) == _LOW_32)
        or (address.is_reserved and not is_loopback and not _is_mapped(address))
    )


def _is_mapped(address: IPv4Address | IPv6Address) -> bool:
    """Returns whether only the IPv4 address in an address decides."""
    if isinstance(address, IPv4Address):
        return False
    return address.ipv4_mapped is not None or address in _NAT64 or int(address) >> 32 == 0


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _SPECIAL_IPV4)
    if address.ipv4_mapped is not None or address in _NAT64:
        return True  # checked by the IPv4 address in it
    return (
        address in _GLOBAL_IPV6
        and address.is_global
        and not any(address in network for network in _SPECIAL_IPV6)
    )
