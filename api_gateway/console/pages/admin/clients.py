"""OAuth clients: the list, creation and revocation."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

import structlog
from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.oauth_clients import ClientNameRefused, NewClient, create_client
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import ConsoleParts, check_is_shown, see_other
from api_gateway.http.problems import Problem, bad_request
from enrollment.runtime.settings import Settings
from enrollment.storage.credentials import oauth_clients
from schemas.findings import Rule, finding

log = structlog.get_logger()

_READ, _WRITE = (("console_clients", "GET"),), (("console_clients", "POST"),)


def client_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    base = f"{CONSOLE_PATH}/keys/clients"
    revoke = f"{base}/{{number:int(min=1, max=2147483647)}}/revoke"
    return [
        ConsolePage(base, ClientsPageResource(shared), {"GET": _READ, "POST": _WRITE}),
        ConsolePage(revoke, RevokeClientResource(shared), {"POST": _WRITE}),
    ]


@dataclass(frozen=True, slots=True)
class ClientsPageResource:
    """All clients, and the form of a new one."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the clients of the database and of the settings."""
        await self._show(req, resp, {}, None)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Creates a client, and shows its secret this once; or shows why it was refused."""
        fields = await read_form(req)
        parts = self.shared.parts
        try:
            made = await parts.database.write(_create, fields, parts.settings, now=parts.now())
        except Problem as problem:
            check_is_shown(problem)
            await self._show(req, resp, fields, problem)
            return
        caller = req.context.caller.name
        log.info("client.created", number=made.number, client_id=made.client_id, caller=caller)
        self.shared.renderer.write(
            req, resp, "admin/new_client.html", status=HTTPStatus.CREATED, client=made
        )

    async def _show(
        self, req: Request, resp: Response, fields: dict[str, str], problem: Problem | None
    ) -> None:
        known = await self.shared.parts.lists.read(oauth_clients.all_clients)
        self.shared.renderer.write(
            req,
            resp,
            "admin/clients.html",
            status=HTTPStatus.OK if problem is None else problem.status,
            clients=[client for client in known if client.revoked_at is None],
            ended=[client for client in reversed(known) if client.revoked_at is not None],
            configured=self.shared.parts.settings.oauth_clients,
            fields=fields,
            problem=None if problem is None else problem.body(),
        )


@dataclass(frozen=True, slots=True)
class RevokeClientResource:
    """The end of a client."""

    shared: ConsoleParts

    async def on_post(self, req: Request, resp: Response, number: int) -> None:
        """Revokes the client, and shows the list. One that was revoked before stays so."""
        await read_form(req)
        parts = self.shared.parts
        if await parts.database.write(oauth_clients.revoke, number, now=parts.now()):
            log.info("client.revoked", number=number, caller=req.context.caller.name)
        see_other(resp, "/keys/clients")


def _create(
    session: Session, fields: dict[str, str], settings: Settings, *, now: datetime
) -> NewClient:
    """Creates the client of a form. Raises Problem 400."""
    client_id = fields.get("client_id", "").strip()
    try:
        return create_client(
            session,
            client_id,
            fields.get("user", "").strip(),
            is_staff=bool(fields.get("staff")),
            configured={client.client_id for client in settings.oauth_clients},
            now=now,
        )
    except ClientNameRefused as refusal:
        found = finding("client_id", client_id, Rule.PATTERN)
        raise bad_request("invalid_body", str(refusal), found) from refusal
