"""Signatures of webhooks (Standard Webhooks 1.0: HMAC-SHA256 over id, timestamp and body)."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping

#: Begins a secret; its random bytes follow in base64.
SIGNING_SECRET_PREFIX = "whsec_"  # noqa: S105 (not a secret)


def signed_headers(
    message_id: str, timestamp: int, body: bytes, secrets: Iterable[str]
) -> Mapping[str, str]:
    """Returns the headers of a message, with one signature for each secret."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_sign(content, secret) for secret in secrets),
    }


def _sign(content: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(SIGNING_SECRET_PREFIX))
    digest = hmac.new(key, content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
