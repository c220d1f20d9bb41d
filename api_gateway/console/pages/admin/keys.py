"""API keys: the list, creation, rotation and revocation."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import NamedTuple

import structlog
from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.api_keys import (
    SCOPES,
    KeyNameRefused,
    NewApiKey,
    create_key,
    creation_fields,
)
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import ConsoleParts, check_is_shown, see_other
from api_gateway.http.problems import Problem, bad_request
from enrollment.storage.credentials import api_keys
from enrollment.storage.credentials.api_keys import ApiKey
from schemas.findings import Rule, finding

log = structlog.get_logger()

_READ, _WRITE = (("console_keys", "GET"),), (("console_keys", "POST"),)
#: Numbers of keys have fewer digits.
_NUMBER = "{number:int(min=1, max=2147483647)}"
_MAX_DAYS, _MAX_DIGITS = 3_650, 4


def key_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    base = f"{CONSOLE_PATH}/keys"
    one = f"{base}/{_NUMBER}"
    return [
        ConsolePage(base, KeysPageResource(shared), {"GET": _READ, "POST": _WRITE}),
        ConsolePage(one, KeyPageResource(shared), {"GET": _READ}),
        ConsolePage(f"{one}/rotate", RotateKeyResource(shared), {"POST": _WRITE}),
        ConsolePage(f"{one}/revoke", RevokeKeyResource(shared), {"POST": _WRITE}),
    ]


class KeyFacts(NamedTuple):
    """A key, and the number of the newest one with its name: it is that one's predecessor."""

    key: ApiKey
    newest: int


@dataclass(frozen=True, slots=True)
class KeysPageResource:
    """All keys, and the form of a new one."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the keys; those that can be used come first."""
        await self._show(req, resp, {}, None)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Creates a key, and shows it this once; or shows why it was refused."""
        fields = await read_form(req)
        parts = self.shared.parts
        try:
            name, scopes = fields.get("name", "").strip(), _read_scopes(fields)
            expires_at = _read_expiry(fields, parts.now())
            made = await parts.database.write(
                _create, name, scopes, expires_at=expires_at, now=parts.now()
            )
        except Problem as problem:
            check_is_shown(problem)
            await self._show(req, resp, fields, problem)
            return
        _log_creation(req, made)
        _show_new(self.shared, req, resp, made, former=None)

    async def _show(
        self, req: Request, resp: Response, fields: dict[str, str], problem: Problem | None
    ) -> None:
        now = self.shared.parts.now()
        known = await self.shared.parts.lists.read(api_keys.all_keys)
        self.shared.renderer.write(
            req,
            resp,
            "admin/keys.html",
            status=HTTPStatus.OK if problem is None else problem.status,
            keys=[key for key in known if key.is_live(now)],
            ended=[key for key in reversed(known) if not key.is_live(now)],
            scopes=SCOPES,
            fields=fields,
            problem=None if problem is None else problem.body(),
            now=now,
        )


@dataclass(frozen=True, slots=True)
class KeyPageResource:
    """One key."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response, number: int) -> None:
        """Shows the key, with the forms of its rotation and its revocation."""
        facts = await self.shared.parts.database.read(_read_facts, number)
        self.shared.renderer.write(
            req,
            resp,
            "admin/key.html",
            key=facts.key,
            newest=facts.newest,
            is_own=req.context.caller.name == f"key:{facts.key.name}",
            now=self.shared.parts.now(),
        )

    on_head = on_get


@dataclass(frozen=True, slots=True)
class RotateKeyResource:
    """The successor of a key."""

    shared: ConsoleParts

    async def on_post(self, req: Request, resp: Response, number: int) -> None:
        """Creates a key with the same name and scopes, and shows it this once.

        The field `newest` has the number of the newest key with the name: a form that is sent
        twice creates one key.
        """
        fields = await read_form(req)
        now = self.shared.parts.now()
        made = await self.shared.parts.database.write(
            _rotate,
            number,
            newest=fields.get("newest", ""),
            expires_at=_read_expiry(fields, now),
            now=now,
        )
        _log_creation(req, made)
        _show_new(self.shared, req, resp, made, former=number)


@dataclass(frozen=True, slots=True)
class RevokeKeyResource:
    """The end of a key."""

    shared: ConsoleParts

    async def on_post(self, req: Request, resp: Response, number: int) -> None:
        """Revokes the key, and shows the list. One that was revoked before stays so."""
        await read_form(req)
        parts = self.shared.parts
        facts = await parts.database.read(_read_facts, number)
        if await parts.database.write(api_keys.revoke, number, now=parts.now()):
            caller = req.context.caller.name
            log.info("key.revoked", key_id=number, name=facts.key.name, caller=caller)
        see_other(resp, "/keys")


def _create(
    session: Session,
    name: str,
    scopes: frozenset[str],
    *,
    expires_at: datetime | None,
    now: datetime,
    rotate: bool = False,
) -> NewApiKey:
    """Creates a key. Raises Problem 400."""
    try:
        return create_key(session, name, scopes, rotate=rotate, expires_at=expires_at, now=now)
    except KeyNameRefused as refusal:
        found = finding("name", name, Rule.PATTERN)
        raise bad_request("invalid_body", str(refusal), found) from refusal


def _rotate(
    session: Session, number: int, *, newest: str, expires_at: datetime | None, now: datetime
) -> NewApiKey:
    """Creates the successor of a key. Raises Problem 404, 409."""
    api_keys.lock_names(session)
    facts = _read_facts(session, number)
    if str(facts.newest) != newest:
        message = f"Another key named {facts.key.name} was created meanwhile: open the list again."
        raise Problem(HTTPStatus.CONFLICT, "already_exists", message)
    name, scopes = facts.key.name, facts.key.scopes
    return _create(session, name, scopes, expires_at=expires_at, now=now, rotate=True)


def _read_facts(session: Session, number: int) -> KeyFacts:
    """Reads a key. Raises Problem 404."""
    key = api_keys.find_by_id(session, number)
    if key is None:
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "There is no such key.")
    return KeyFacts(key, api_keys.find_by_name(session, key.name)[-1].id)


def _read_scopes(fields: dict[str, str]) -> frozenset[str]:
    """Reads the scopes that were ticked. Raises Problem 400 without any."""
    scopes = frozenset(scope for scope in SCOPES if fields.get(f"scope_{scope}"))
    if not scopes:
        message = "Choose at least one scope."
        raise bad_request("invalid_body", message, finding("scopes", None, Rule.REQUIRED))
    return scopes


def _read_expiry(fields: dict[str, str], now: datetime) -> datetime | None:
    """Reads the number of days after which a key ends; None for no end. Raises Problem 400."""
    text = fields.get("days", "").strip()
    if not text:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_number or not 1 <= int(text) <= _MAX_DAYS:
        message = f"The number of days must be 1 to {_MAX_DAYS:,}, or empty for no end."
        raise bad_request("invalid_body", message, finding("days", text, Rule.RANGE))
    return now + timedelta(days=int(text))


def _show_new(
    shared: ConsoleParts, req: Request, resp: Response, made: NewApiKey, *, former: int | None
) -> None:
    """Shows a new key; `former` is the number of the one that it replaces."""
    shared.renderer.write(
        req,
        resp,
        "admin/new_key.html",
        status=HTTPStatus.CREATED,
        key=made.key,
        secret=made.text,
        former=former,
    )


def _log_creation(req: Request, made: NewApiKey) -> None:
    log.info(made.log_event, **creation_fields(made.key), caller=req.context.caller.name)
