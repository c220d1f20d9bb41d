"""Middleware: request id, authentication, authorization."""

import re
import secrets
import time
from itertools import count

import falcon.asgi

from api_gateway.auth.authentication import Authenticator
from api_gateway.auth.permissions import PERMISSIONS, PUBLIC, authorize
from api_gateway.http.problems import bad_request

#: Request ids that are accepted from the client.
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
#: Hosts that may appear in the links of responses.
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
#: Methods that need the permission of another one.
_ALIASES = {"HEAD": "GET"}


class AuthMiddleware:
    """Gives each request an id and a caller, and rejects those without permission."""

    def __init__(self, authenticator: Authenticator, names: dict[str, str]) -> None:
        self._authenticator = authenticator
        #: Route names by URI template.
        self._names = names
        #: Request ids are this prefix and a number, which saves a system call per request.
        self._prefix = secrets.token_hex(6)
        self._numbers = count()

    async def process_request(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Record the time of arrival; take or make the request id, which the response repeats.

        Raises Problem 400 for an invalid Host header.
        """
        req.context.first_byte = time.monotonic()
        given = req.get_header("X-Request-ID")
        if given is None or not _REQUEST_ID.fullmatch(given):
            given = f"{self._prefix}-{next(self._numbers):08x}"
        req.context.request_id = given
        resp.set_header("X-Request-ID", given)
        host = req.get_header("Host")
        if host is not None and not _HOST.fullmatch(host):
            raise bad_request("bad_request", "The Host header is invalid.")

    async def process_resource(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        resource: object,
        params: dict[str, object],
    ) -> None:
        """Authenticate and authorize the request; public routes need neither."""
        route = self._names.get(req.uri_template or "")
        method = _ALIASES.get(req.method, req.method)
        need = PERMISSIONS.get((route or "", method))
        if need is None:
            _check_listed(resource, req.method)
        if route is None or need is None or need == PUBLIC:
            req.context.caller = None
            return
        caller = await self._authenticator.identify(req)
        authorize(caller, route, method)
        req.context.caller = caller

    async def process_response(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        _resource: object,
        _succeeded: bool,  # noqa: FBT001 (the framework's signature)
    ) -> None:
        """Add OPTIONS to the Allow header of its own response."""
        if req.method == "OPTIONS" and (allowed := resp.get_header("Allow")) is not None:
            methods = {*allowed.split(", "), "OPTIONS"}
            resp.set_header("Allow", ", ".join(sorted(methods)))


def _check_listed(resource: object, method: str) -> None:
    """Raise LookupError for a served method without an entry in POLICY."""
    responder = f"on_{method.lower()}"
    if any(name.startswith(responder) for name in dir(resource)):
        message = f"{type(resource).__name__}.{responder} has no entry in POLICY"
        raise LookupError(message)
