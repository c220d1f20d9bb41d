"""Admits requests to the pages of the console: by the session of the browser."""

from collections.abc import Mapping
from urllib.parse import quote, unquote

import falcon
from falcon.asgi import Request, Response

from api_gateway.auth.caller_throttle import CallerThrottle
from api_gateway.auth.permissions import check_caller
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, requirement_of
from api_gateway.console.sessions.sessions import ConsoleSessions
from api_gateway.http.problems import unauthenticated
from api_gateway.http.response_headers import PUBLIC_ROUTE

LOGIN_PATH = f"{CONSOLE_PATH}/login"
#: Longest address to which the log-in page leads back.
MAX_TARGET = 1_000


class ConsoleGate:
    """Sets session and caller of each request for a page."""

    def __init__(
        self, sessions: ConsoleSessions, throttle: CallerThrottle, pages: Mapping[str, ConsolePage]
    ) -> None:
        """`pages` are by URI template."""
        self._sessions = sessions
        self._throttle = throttle
        self._pages = pages
        self.templates = frozenset(pages)

    async def admit(self, req: Request, resp: Response) -> None:
        """Sets `caller` and `session` of the request's context; both are None on public pages.

        A browser without a session is sent to the log-in page if it asks for a page. Raises Problem
        401, 403, 429, 503; DatabaseUnavailable, Overloaded.
        """
        req.context.caller = req.context.session = None
        page = self._pages[req.uri_template or ""]
        method = "GET" if req.method == "HEAD" else req.method
        if page.is_public or method not in page.needs:
            if page.is_public and "POST" not in page.needs:
                req.scope[PUBLIC_ROUTE] = True
            return
        session = await self._sessions.find(req)
        if session is None:
            if method == "GET" and not req.get_header("HX-Request"):
                raise falcon.HTTPSeeOther(_login_link(req))
            problem = unauthenticated("Your session has ended.")
            problem.advice = "Log in again."
            problem.headers["HX-Redirect"] = LOGIN_PATH
            raise problem
        req.context.session, req.context.caller = session, session.caller
        await self._throttle.count_caller(req, resp, session.caller)
        for operation in page.needs[method]:
            check_caller(session.caller, requirement_of(operation))


def _login_link(req: Request) -> str:
    target = req.relative_uri
    if target == CONSOLE_PATH or len(target) > MAX_TARGET:
        return LOGIN_PATH
    return f"{LOGIN_PATH}?next={quote(target, safe='')}"


def is_own_page(target: str) -> bool:
    """Whether an address is a page of the console: a log-in leads to no other."""
    is_path = target == CONSOLE_PATH or target.startswith((f"{CONSOLE_PATH}/", f"{CONSOLE_PATH}?"))
    is_plain = target.isascii() and target.isprintable() and "\\" not in target
    segments = unquote(target.partition("?")[0]).split("/")
    return is_path and is_plain and ".." not in segments and len(target) <= MAX_TARGET
