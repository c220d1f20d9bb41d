"""What every request passes: its id, its caller, its permission."""

import re
import secrets
import time
from itertools import count

import falcon.asgi

from api_gateway.authentication import Authenticator
from api_gateway.policy import POLICY, PUBLIC, check
from api_gateway.problems import bad_request

#: A request id that may be taken over as it is.
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
#: A host that may stand in the links of answers.
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
#: Methods that are answered without asking who it is.
_ALIASES = {"HEAD": "GET"}


class Gate:
    """Middleware: names the request, finds out who asks, and whether they may."""

    def __init__(self, authenticator: Authenticator, names: dict[str, str]) -> None:
        self._authenticator = authenticator
        #: Route names by URI template.
        self._names = names
        #: Ids are this and a number: randomness for each would be a call of the system each.
        self._ours = secrets.token_hex(6)
        self._numbers = count()

    async def process_request(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Note when it came; take its id, or make one, which comes back with the answer.

        Raises Problem 400 for a host that is none.
        """
        req.context.first_byte = time.monotonic()
        given = req.get_header("X-Request-ID")
        if given is None or not _REQUEST_ID.fullmatch(given):
            given = f"{self._ours}-{next(self._numbers):08x}"
        req.context.request_id = given
        resp.set_header("X-Request-ID", given)
        host = req.get_header("Host")
        if host is not None and not _HOST.fullmatch(host):
            raise bad_request("bad_request", "The header Host names no host.")

    async def process_resource(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        resource: object,
        params: dict[str, object],
    ) -> None:
        """Stop who may not. Public routes ask nobody."""
        route = self._names.get(req.uri_template or "")
        method = _ALIASES.get(req.method, req.method)
        need = POLICY.get((route or "", method))
        if need is None:
            _refuse_unlisted(resource, req.method)
        if route is None or need is None or need == PUBLIC:
            req.context.caller = None
            return
        caller = await self._authenticator.identify(req)
        check(caller, route, method)
        req.context.caller = caller

    async def process_response(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        _resource: object,
        _succeeded: bool,  # noqa: FBT001 (the framework's own signature)
    ) -> None:
        """Say in Allow that OPTIONS is allowed, where it was."""
        if req.method == "OPTIONS" and (allowed := resp.get_header("Allow")) is not None:
            methods = {*allowed.split(", "), "OPTIONS"}
            resp.set_header("Allow", ", ".join(sorted(methods)))


def _refuse_unlisted(resource: object, method: str) -> None:
    """What is served stands in the policy; only OPTIONS, and what is not served, need not."""
    responder = f"on_{method.lower()}"
    if any(name.startswith(responder) for name in dir(resource)):
        message = f"{type(resource).__name__}.{responder} stands in no policy"
        raise LookupError(message)
