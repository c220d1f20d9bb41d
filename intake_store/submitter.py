"""The caller that hands requests in, as far as storing them depends on it."""

from typing import Protocol

from enrollment.domain.codes import CallerKind


class Submitter(Protocol):
    """An authenticated caller of any way in."""

    @property
    def name(self) -> str:
        """`key:NAME` or `user:USERNAME`; owns submissions and Idempotency-Keys."""

    @property
    def kind(self) -> CallerKind:
        """The kind of caller, which decides its rights."""
