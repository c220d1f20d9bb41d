"""Queries the progress of a measure in PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

#: Returns a number that only grows.
Count = Callable[[], int]
#: Number of committed events.
EVENTS = "SELECT coalesce(max(last), 0) FROM feed"


def plain(url: str) -> str:
    """Returns a SQLAlchemy URL in the form of libpq."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


@contextmanager
def counting(url: str, query: str = EVENTS) -> Iterator[Count]:
    """Yields a function that runs the query on one open connection."""
    with psycopg.connect(plain(url), autocommit=True) as connection:

        def count() -> int:
            row = connection.execute(query).fetchone()
            if row is None:
                raise RuntimeError(f"no row for {query}")
            return int(row[0])

        yield count
