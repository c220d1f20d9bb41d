"""What is done while a block runs, done without doing anything meanwhile."""

from contextlib import AbstractContextManager
from typing import TypeVar

Given = TypeVar("Given")


def at_once(block: AbstractContextManager[Given]) -> Given:
    """What the block was given, once it has ended."""
    with block as given:
        return given
