"""Numbers of connections: waiting to be accepted, and open."""

import resource
from typing import NamedTuple

#: Maximum number of connections that wait to be accepted.
LISTEN_BACKLOG = 2048
#: File descriptors that are kept for the database, Redis, uploads and connections being refused.
RESERVED_DESCRIPTORS = 128


class DescriptorLimits(NamedTuple):
    """Maximum numbers of open files: now, and the highest that a process may set itself."""

    soft: int
    hard: int


def descriptor_limits() -> DescriptorLimits:
    """Returns the limits of this process."""
    return DescriptorLimits(*resource.getrlimit(resource.RLIMIT_NOFILE))


def raise_descriptor_limit() -> int:
    """Raises the soft limit of this process to the hard one; returns the limit."""
    limits = descriptor_limits()
    if limits.soft != limits.hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits.hard, limits.hard))
    return limits.hard


def max_open_connections(wanted: int, descriptors: int) -> int:
    """Returns the number of connections that the descriptors of a process allow, at least 1.

    A process without a descriptor left could not even refuse a connection.
    """
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, descriptors - RESERVED_DESCRIPTORS))
