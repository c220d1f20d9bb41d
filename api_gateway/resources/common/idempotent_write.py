"""Idempotency-Keys of synchronous writes: the key is stored in the transaction of the write."""

from collections.abc import Callable
from uuid import uuid4

from falcon.asgi import Request
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.http.fingerprint import fingerprint_of_body
from api_gateway.http.headers import read_idempotency_key
from enrollment.domain.errors import DatabaseUnavailable, KeyReused
from enrollment.storage import idempotency
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.idempotency import KeyUse


def read_key_use(req: Request, body: bytes) -> KeyUse | None:
    """Returns the Idempotency-Key of a request with its fingerprint; None without a key.

    Raises Problem 400 for an invalid key.
    """
    key = read_idempotency_key(req)
    if key is None:
        return None
    caller: Caller = req.context.caller
    return KeyUse(caller.name, key, fingerprint_of_body(req, body), uuid4())


def run_once(session: Session, use: KeyUse | None, write: Callable[[], None]) -> bool:
    """Runs `write` unless the key was used before; returns True for a replay.

    Waits for a transaction that holds the key. Raises KeyReused if the key was used for another
    request, DatabaseUnavailable if it was purged while this transaction waited.
    """
    if use is None or idempotency.claim(session, [use], now=database_now(session)):
        write()
        return False
    caller_and_key = (use.caller, use.key)
    first = idempotency.find(session, {caller_and_key}).get(caller_and_key)
    if first is None:
        message = "the Idempotency-Key was purged during the request"
        raise DatabaseUnavailable(message)
    if first.fingerprint != use.fingerprint:
        raise KeyReused(use.key)
    return True
