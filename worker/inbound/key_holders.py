"""Callers of messages: the holder of the API key that a message bears."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from enrollment.domain.codes import CallerKind
from enrollment.storage.credentials import api_keys
from enrollment.storage.credentials.api_keys import ApiKey
from enrollment.storage.engine.sessions import Sessions, database_now
from worker.inbound.messages import MessageRefusal

#: Seconds for which a key is remembered, so a revocation takes effect after them.
KEY_SECONDS = 2.0
#: Seconds between two records of the last use of a key.
USE_SECONDS = 60.0
#: Maximum number of keys that are remembered.
MAX_REMEMBERED = 1_000
_FORM = re.compile(r"enr_[A-Za-z0-9_-]{43}")


class KeyHolder(NamedTuple):
    """The server that an API key belongs to."""

    name: str
    kind: CallerKind


_FIXED = KeyHolder("key:edx", CallerKind.SERVER)


class _Remembered(NamedTuple):
    #: Monotonic seconds.
    until: float
    result: KeyHolder | MessageRefusal


class KeyHolders:
    """Looks up API keys; each at most once in `KEY_SECONDS`. Belongs to one thread."""

    def __init__(
        self,
        sessions: Sessions,
        fixed_key: str | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fixed_key` is that of ENROLL_EDX_API_KEY."""
        self._sessions = sessions
        self._fixed_key = None if fixed_key is None else fixed_key.encode()
        self._monotonic = monotonic
        self._remembered: dict[bytes, _Remembered] = {}
        #: Monotonic seconds of the last record of a key's use, by its id.
        self._used_at: dict[int, float] = {}

    def find(self, text: str) -> KeyHolder:
        """Returns the holder of a key that may enroll.

        Raises MessageRefusal, DatabaseUnavailable.
        """
        given = text.encode("utf-8", "surrogatepass")
        if self._fixed_key is not None and hmac.compare_digest(given, self._fixed_key):
            return _FIXED
        if not _FORM.fullmatch(text):
            raise _unknown()
        digest, now = hashlib.sha256(given).digest(), self._monotonic()
        known = self._remembered.get(digest)
        if known is None or known.until <= now:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[digest] = _Remembered(now + KEY_SECONDS, self._look_up(digest))
        if isinstance(known.result, MessageRefusal):
            raise known.result
        return known.result

    def _look_up(self, digest: bytes) -> KeyHolder | MessageRefusal:
        with self._sessions.read() as session:
            key, now = api_keys.find_by_digest(session, digest), database_now(session)
        if key is None:
            return _unknown()
        if key.has_expired(now):
            return MessageRefusal("token_expired", "The API key has expired.")
        self._record_use(key, now)
        if not key.scopes & {"enroll", "admin"}:
            held = ", ".join(sorted(key.scopes)) or "none"
            message = f"It needs an API key with the scope enroll or admin; this one has: {held}."
            return MessageRefusal("not_permitted", message)
        kind = CallerKind.ADMIN if "admin" in key.scopes else CallerKind.SERVER
        return KeyHolder(f"key:{key.name}", kind)

    def _record_use(self, key: ApiKey, now: datetime) -> None:
        """Records the last use, at most once a minute."""
        at = self._monotonic()
        if at - self._used_at.get(key.id, at - USE_SECONDS) < USE_SECONDS:
            return
        with self._sessions.begin() as session:
            api_keys.record_use(session, {key.id: now})
        self._used_at[key.id] = at


def _unknown() -> MessageRefusal:
    return MessageRefusal("not_authenticated", "The API key is not valid.")
