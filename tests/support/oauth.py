"""OAuth clients for tests, and token requests in every form that real clients send."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from api_gateway.auth.api_keys import digest_of
from enrollment.storage.credentials import oauth_clients
from enrollment.storage.engine.sessions import Sessions

SECRET = "a secret of more than sixteen characters"
PATH = "/oauth2/access_token"
FORM = "application/x-www-form-urlencoded"
BOUNDARY = "x1y2z3"


def add_client(sessions: Sessions, client_id: str, *, user: str, staff: bool = False) -> int:
    """Adds a client with the secret `SECRET`."""
    with sessions.begin() as session:
        number = oauth_clients.add(
            session,
            client_id=client_id,
            digest=digest_of(SECRET),
            username=user,
            is_staff=staff,
            now=datetime.now(UTC),
        )
    assert number is not None
    return number


def revoke_client(sessions: Sessions, number: int) -> None:
    """Revokes a client."""
    with sessions.begin() as session:
        assert oauth_clients.revoke(session, number, now=datetime.now(UTC))


def basic(client_id: str, secret: str = SECRET) -> dict[str, str]:
    """Returns the header of HTTP Basic."""
    text = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def grant(client_id: str, secret: str = SECRET, **more: str) -> dict[str, str]:
    """Returns the fields of a token request."""
    fields = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return fields | more


def form(fields: Any) -> dict[str, Any]:
    """Returns a urlencoded request."""
    return {"body": urlencode(fields), "headers": {"Content-Type": FORM}}


def multipart(fields: dict[str, str]) -> dict[str, Any]:
    """Returns a multipart request."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    body = "".join(parts) + f"--{BOUNDARY}--\r\n"
    return {"body": body, "headers": {"Content-Type": content_type}}


def as_json(fields: object) -> dict[str, Any]:
    """Returns a JSON request; the type in upper case, as one client sends it."""
    return {"body": json.dumps(fields), "headers": {"Content-Type": "application/JSON"}}
