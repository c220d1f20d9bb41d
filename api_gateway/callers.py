"""Who is asking: the value that authentication makes and everything else reads."""

from typing import NamedTuple

from enrollment.domain.codes import CallerKind
from enrollment.domain.model import RIGHTS, Rights


class Caller(NamedTuple):
    """An authenticated client: an API key, a token's subject, or both."""

    #: ``key:NAME`` or ``user:USERNAME``; owns submissions and Idempotency-Keys.
    name: str
    kind: CallerKind
    #: Of ``enroll``, ``read``, ``courses``, ``admin``; ``admin`` includes every other.
    scopes: frozenset[str] = frozenset()
    #: The person behind a token; None for a key alone.
    username: str | None = None
    email: str | None = None

    @property
    def rights(self) -> Rights:
        """What the caller may do beyond enrolling."""
        return RIGHTS[self.kind]

    @property
    def is_staff(self) -> bool:
        """A staff token, or an admin key."""
        return self.kind in {CallerKind.STAFF, CallerKind.ADMIN}

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope, by itself or through ``admin``."""
        return scope in self.scopes or "admin" in self.scopes
