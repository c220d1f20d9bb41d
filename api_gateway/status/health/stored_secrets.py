"""Whether the stored secrets of webhooks and destinations can be decrypted here."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice

from sqlalchemy.orm import Session

from enrollment.domain.webhooks.records import Webhook
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey, SecretEncryption
from enrollment.storage.destinations import registry
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.webhooks import endpoints

#: Advice for operators.
REMEDY = (
    "give gateways and beat the key that encrypted them, in ENROLL_ENCRYPTION_KEY (former keys "
    "follow after a comma) or in encryption.key of the data folder; or rotate the secret of each "
    "webhook, and put each destination again with its secret"
)
#: Most names in a finding.
_MAX_NAMES = 5


def find_undecryptable(session: Session, encryption: Callable[[], SecretEncryption]) -> str:
    """Returns a sentence that names whose secrets no key decrypts; empty if there are none.

    `encryption` may raise NoEncryptionKey.
    """
    stored = list(_stored_secrets(session, database_now(session)))
    if not stored:
        return ""
    try:
        keys = encryption()
    except NoEncryptionKey as error:
        names, reason = [name for name, _ in stored], str(error)
    else:
        names = [name for name, secret in stored if not _is_decryptable(keys, secret)]
        reason = "they were encrypted with a key that is not in use here"
    if not names:
        return ""
    shown = ", ".join(islice(dict.fromkeys(names), _MAX_NAMES))
    rest = len(set(names)) - _MAX_NAMES
    more = f" and {rest} more" if rest > 0 else ""
    return f"nothing is sent to {shown}{more}, whose stored secrets cannot be decrypted: {reason}"


def _stored_secrets(session: Session, now: datetime) -> Iterator[tuple[str, str]]:
    """Yields each secret that is in use, encrypted, and the name of what it belongs to."""
    for webhook in endpoints.find_all(session):
        for secret in _secrets_of(webhook, now):
            yield f"webhook {webhook.id}", secret
    for stored in registry.find_all(session):
        yield f"destination {stored.destination.name}", stored.auth


def _secrets_of(webhook: Webhook, now: datetime) -> list[str]:
    is_rotated = webhook.previous_secret is not None and now < (webhook.previous_until or now)
    return [webhook.secret, webhook.previous_secret or ""] if is_rotated else [webhook.secret]


def _is_decryptable(keys: SecretEncryption, secret: str) -> bool:
    try:
        keys.decrypt(secret)
    except NoEncryptionKey:
        return False
    return True
