"""Cuts any number of values into portions."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def portions(values: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Yields tuples of at most `size` values, in order."""
    rest = iter(values)
    while portion := tuple(islice(rest, size)):
        yield portion
