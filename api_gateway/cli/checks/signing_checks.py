"""Checks of the key that signs tokens, and of the clients that get them."""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from api_gateway.auth.signing.shared_key import is_key_shared, key_finding
from api_gateway.auth.signing_keys import SigningKeys
from api_gateway.cli.checks.check_result import CheckResult
from enrollment.runtime.settings import Settings
from enrollment.storage.outbox.installation import find_signing_kid


def check_clients(settings: Settings) -> Iterator[CheckResult]:
    """Checks that the clients in the settings can get tokens, if there are any."""
    if not settings.oauth_clients:
        return
    number = len(settings.oauth_clients)
    if not settings.own_tokens:
        message = "ENROLL_OAUTH_CLIENTS is set, but tokens of this service are switched off"
        yield CheckResult("wrong", "clients", message, "unset ENROLL_OWN_TOKENS")
    elif SigningKeys(settings).current() is not None:
        message = f"the settings have {number}, and a key signs their tokens"
        yield CheckResult("ok", "clients", message)
    else:
        message = f"the settings have {number}; the key that signs their tokens is not here"
        advice = "the first gateway makes it when it starts; or set ENROLL_SIGNING_KEY"
        yield CheckResult("note", "clients", message, advice)


def check_signing_key(settings: Settings, session: Session) -> Iterator[CheckResult]:
    """Reports a key of another host than this one, where the gateways make and share it.

    It is no fault on a host without a gateway, so it is only noted.
    """
    if is_key_shared(settings) and (found := key_finding(settings, find_signing_kid(session))):
        message, _, advice = found.partition(": ")
        yield CheckResult("note", "signing key", message, advice)
