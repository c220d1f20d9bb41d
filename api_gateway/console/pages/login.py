"""Log-in with an API key or a token, and log-out."""

import secrets
from dataclasses import dataclass
from http import HTTPStatus

from falcon.asgi import Request, Response

from api_gateway.console.gate import is_own_page
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.sessions.cookies import (
    LOGIN_COOKIE,
    check_transport,
    read_cookie,
    write_cookie,
)
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import ConsoleParts, see_other
from api_gateway.http.problems import Problem, unauthenticated

#: Seconds for which the form of a log-in page may be sent.
LOGIN_SECONDS = 3_600
#: Longest API key or token that is read.
MAX_CREDENTIAL = 8_000
_TOKEN_BYTES = 24


def login_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    login = ConsolePage(
        f"{CONSOLE_PATH}/login", LoginResource(shared), {"GET": (), "POST": ()}, is_public=True
    )
    return [login, ConsolePage(f"{CONSOLE_PATH}/logout", LogoutResource(shared), {"POST": ()})]


@dataclass(frozen=True, slots=True)
class LoginResource:
    """Begins sessions."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the form."""
        self._show(req, resp, req.get_param("next") or "")

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Begins a session, and leads to the page that was opened first."""
        fields = await read_form(req)
        target = fields.get("next", "")
        try:
            credential = fields.get("credential", "").strip()[:MAX_CREDENTIAL]
            if not credential:
                raise unauthenticated("The field is empty.")
            await self.shared.sessions.start(req, resp, credential)
        except Problem as problem:
            if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            if problem.status == HTTPStatus.UNAUTHORIZED:
                problem.advice = "Enter the key or token in full, as it was given to you."
            resp.set_headers(problem.headers)
            self._show(req, resp, target, problem)
            return
        write_cookie(req, resp, LOGIN_COOKIE, "", seconds=0)
        see_other(resp, target.removeprefix(CONSOLE_PATH) if is_own_page(target) else "")

    def _show(
        self, req: Request, resp: Response, target: str, problem: Problem | None = None
    ) -> None:
        check_transport(req)
        # that of another tab with the page stays valid
        token = read_cookie(req, LOGIN_COOKIE) or secrets.token_urlsafe(_TOKEN_BYTES)
        write_cookie(req, resp, LOGIN_COOKIE, token, seconds=LOGIN_SECONDS)
        self.shared.renderer.write(
            req,
            resp,
            "login.html",
            status=HTTPStatus.OK if problem is None else problem.status,
            form_token=token,
            target=target if is_own_page(target) else "",
            problem=None if problem is None else problem.body(),
        )


@dataclass(frozen=True, slots=True)
class LogoutResource:
    """Ends sessions."""

    shared: ConsoleParts

    async def on_post(self, req: Request, resp: Response) -> None:
        """Ends the session here and in the browser."""
        await read_form(req)
        await self.shared.sessions.end(req, resp)
        see_other(resp, "/login")
