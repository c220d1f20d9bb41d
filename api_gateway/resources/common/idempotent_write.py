"""Idempotency-Keys of synchronous writes: the key is stored in the transaction of the write."""

from collections.abc import Callable
from uuid import uuid4

from falcon.asgi import Request
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.http.headers import read_idempotency_key, start_fingerprint
from enrollment.domain.errors import KeyReused, RecordsUnavailable
from enrollment.storage import idempotency
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.idempotency import KeyUse


def read_key_use(req: Request, body: bytes) -> KeyUse | None:
    """Return the key of a request with its fingerprint, None without a key.

    Raises Problem 400 for an invalid key.
    """
    key = read_idempotency_key(req)
    if key is None:
        return None
    caller: Caller = req.context.caller
    digest = start_fingerprint(req)
    digest.update(body)
    return KeyUse(caller.name, key, digest.digest(), uuid4())


def run_once(session: Session, use: KeyUse | None, work: Callable[[], None]) -> bool:
    """Run the work unless it was done before under the same key; return whether it was.

    Waits for a transaction that holds the key. Raises KeyReused if the key was used for another
    request.
    """
    if use is None or idempotency.claim(session, [use], now=database_now(session)):
        work()
        return False
    used = (use.caller, use.key)
    before = idempotency.find(session, {used}).get(used)
    if before is None:
        message = "an Idempotency-Key was purged meanwhile"
        raise RecordsUnavailable(message)
    if before.fingerprint != use.fingerprint:
        raise KeyReused(use.key)
    return True
