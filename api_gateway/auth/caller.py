"""The authenticated principal of a request."""

from typing import NamedTuple

from enrollment.domain.codes import CallerKind
from enrollment.domain.model import RIGHTS, Rights


class Caller(NamedTuple):
    """An authenticated client: an API key, the subject of a token, or both."""

    #: `key:NAME` or `user:USERNAME`; owns submissions and Idempotency-Keys.
    name: str
    kind: CallerKind
    #: Of `enroll`, `read`, `courses`, `admin`; `admin` includes all others.
    scopes: frozenset[str] = frozenset()
    #: The subject of a token; None without a token.
    username: str | None = None
    email: str | None = None

    @property
    def rights(self) -> Rights:
        """The rights of the caller's kind."""
        return RIGHTS[self.kind]

    @property
    def is_staff(self) -> bool:
        """Whether this is a staff token or an admin key."""
        kind = self.kind  # compared as it is: the hash of an enum's member is slow
        return kind is CallerKind.STAFF or kind is CallerKind.ADMIN

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope, itself or through `admin`."""
        return scope in self.scopes or "admin" in self.scopes
