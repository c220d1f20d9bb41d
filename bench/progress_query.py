"""Asks PostgreSQL how far the work has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

#: Answers a number that only grows.
Count = Callable[[], int]
#: Changes of enrollments that were committed, each with its event.
EVENTS = "SELECT coalesce(max(position), 0) FROM feed_head"


def plain(url: str) -> str:
    """The URL as PostgreSQL's own programs know it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


@contextmanager
def counting(url: str, question: str = EVENTS) -> Iterator[Count]:
    """Asks over one connection, which is kept."""
    with psycopg.connect(plain(url), autocommit=True) as connection:

        def count() -> int:
            row = connection.execute(question).fetchone()
            if row is None:
                raise RuntimeError(f"no answer to {question}")
            return int(row[0])

        yield count
