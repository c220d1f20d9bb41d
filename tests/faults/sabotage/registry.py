"""The mutants by their names: each sabotages the real code inside a block."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {}


def mutant(
    sabotage: Callable[[], Iterator[None]],
) -> Callable[[], AbstractContextManager[None]]:
    """Name it in the table."""
    made = contextmanager(sabotage)
    MUTANTS[sabotage.__name__] = made
    return made
