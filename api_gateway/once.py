"""Idempotency-Keys of what is done at once: the key is kept with what was done under it."""

from collections.abc import Callable
from uuid import uuid4

from falcon.asgi import Request
from sqlalchemy.orm import Session

from api_gateway.callers import Caller
from api_gateway.headers import fingerprint_head, idempotency_key
from enrollment.domain.errors import KeyReused, RecordsUnavailable
from enrollment.storage import idempotency
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.sessions import clock


def use_of_key(req: Request, body: bytes) -> KeyUse | None:
    """The key of a request and what it stands for, None where it has no key.

    Raises Problem 400 for a key that cannot be kept.
    """
    key = idempotency_key(req)
    if key is None:
        return None
    caller: Caller = req.context.caller
    digest = fingerprint_head(req)
    digest.update(body)
    return KeyUse(caller.name, key, digest.digest(), uuid4())


def once(session: Session, use: KeyUse | None, work: Callable[[], None]) -> bool:
    """Do the work, unless it was done before under the same key; whether it was.

    Raises KeyReused where the key stands for something else.
    """
    if use is None or idempotency.claim(session, [use], now=clock(session)):
        work()
        return False
    used = (use.caller, use.key)
    before = idempotency.find(session, {used}).get(used)
    if before is None:
        message = "an Idempotency-Key was purged just now"
        raise RecordsUnavailable(message)
    if before.fingerprint != use.fingerprint:
        raise KeyReused(use.key)
    return True
