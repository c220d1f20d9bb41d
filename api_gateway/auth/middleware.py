"""Middleware that checks each request before its resource: one, since hooks are coroutines."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import Protocol

import falcon.asgi

from api_gateway.auth.authentication import CallerCache
from api_gateway.auth.caller import Caller
from api_gateway.auth.caller_throttle import CallerThrottle
from api_gateway.auth.links.link_tokens import LinkTokens
from api_gateway.auth.permissions import PERMISSIONS, check_caller
from api_gateway.http.observation import request_ids
from api_gateway.http.observation.access_log import CONTEXT, TEMPLATE
from api_gateway.http.observation.request_ids import RequestIds
from api_gateway.http.observation.request_metrics import ROUTE
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.query_parameters import QueryParameters
from api_gateway.http.response_headers import PUBLIC_ROUTE
from enrollment.domain.errors import EnrollmentError

#: Hosts that may appear in the links of responses.
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
_PORT = re.compile(r":\d*$", re.ASCII)
#: Paths that probes ask by address: they build no links.
_PROBES = frozenset({"/livez", "/readyz"})
_METRICS = "/metrics"
#: Seconds for which a caller can read metrics without the database.
READER_SECONDS = 3_600.0
#: Seconds that the database has to confirm a caller who is known: less than a scrape may take.
CONFIRMATION_SECONDS = 2.0
MAX_READERS = 100
#: Methods that need the permission of another method.
_ALIASES = {"HEAD": "GET"}


class Admission(Protocol):
    """Checks requests for routes with another authentication than that of the API."""

    @property
    def templates(self) -> frozenset[str]:
        """The URI templates of the routes."""

    async def admit(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Sets the caller of a request. Raises Problem, HTTPStatus for one that is not served."""


class MetricsReaders:
    """Authenticates requests for metrics, which are needed most while the database is away.

    Credentials with which metrics were requested in the last hour are then accepted as they were,
    and also while the keys of the tokens' issuer cannot be read.
    """

    def __init__(
        self, authenticator: LinkTokens, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock
        #: Callers by the hash of their credentials, of which other headers are no part: a caller
        #: cannot take the places of others.
        self._known = CallerCache[bytes](MAX_READERS)

    async def identify(self, req: falcon.asgi.Request) -> Caller | None:
        """Returns the caller. Raises Problem 401, 503; DatabaseUnavailable, Overloaded."""
        key, token = self._authenticator.authenticator.credentials(req)
        digest = sha256(f"{key or ''}\n{token or ''}".encode()).digest()
        known = self._known.get(digest, self._clock())
        if known is None:
            caller = await self._authenticator.identify(req)
        else:
            try:
                async with asyncio.timeout(CONFIRMATION_SECONDS):
                    caller = await self._authenticator.identify(req)
            except (EnrollmentError, TimeoutError):
                return known[1]
            except Problem as problem:
                if problem.status is HTTPStatus.SERVICE_UNAVAILABLE:
                    return known[1]
                self._known.put(digest, None, self._clock())
                raise
        if caller is not None:
            self._known.put(digest, caller, self._clock() + READER_SECONDS)
        return caller


class AuthMiddleware:
    """Sets the id and the caller of each request; rejects requests without permission.

    Then it rejects those with unknown query parameters.
    """

    def __init__(
        self,
        authenticator: LinkTokens,
        throttle: CallerThrottle,
        route_names: dict[str, str],
        public: frozenset[str],
        parameters: QueryParameters,
        allowed_hosts: frozenset[str] = frozenset(),
        console: "Admission | None" = None,
    ) -> None:
        """`public` are the URI templates of the public routes; `console` admits to its own ones.

        `allowed_hosts` are in lower case and without ports; empty allows any host.
        """
        self._authenticator = authenticator
        self._metrics_readers = MetricsReaders(authenticator)
        self._throttle = throttle
        self._allowed_hosts = allowed_hosts
        #: Route names by URI template.
        self._route_names = route_names
        self._public = public
        self._parameters = parameters
        self._console = console
        self._request_ids = RequestIds()

    async def process_request(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Records the time of arrival; reads or generates the request id, and returns it.

        Raises Problem 400 for an invalid Host header.
        """
        req.context.first_byte = time.monotonic()
        request_id = self._request_ids.take(req.get_header(request_ids.HEADER))
        req.context.request_id = request_id
        req.scope[CONTEXT] = req.context
        resp.set_header(request_ids.HEADER, request_id)
        host = req.get_header("Host")
        if host is not None and not _is_host(host):
            raise bad_request("bad_request", "The Host header is invalid.")
        if self._allowed_hosts and req.path not in _PROBES:
            self._check_host(host or "")

    def _check_host(self, host: str) -> None:
        """Raises Problem 400 for a host that is not allowed; the port does not count."""
        name = _PORT.sub("", host).lower()
        if name not in self._allowed_hosts:
            raise bad_request("bad_request", "This service is not known under that Host.")

    async def process_resource(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        resource: object,
        params: dict[str, object],
    ) -> None:
        """Authenticates, throttles and authorizes the request; public routes need no credentials.

        Raises Problem 401, 403, 429, 503; DatabaseUnavailable, Overloaded.
        """
        template = req.uri_template or ""
        if template in self._public:
            req.scope[PUBLIC_ROUTE] = True
        method = _ALIASES.get(req.method, req.method)
        route = self._route_names.get(template, "")
        req.scope[ROUTE] = route
        req.scope[TEMPLATE] = template
        requirement = PERMISSIONS.get((route, method))
        if requirement is None:
            if self._console is not None and template in self._console.templates:
                await self._console.admit(req, resp)
                return
            _check_listed(resource, req.method)
        if requirement is None or requirement.public:
            req.context.caller = None
            if requirement is not None and self._throttle.has_public_rate(route):
                await self._throttle_public(req, resp, route)
        else:
            caller = await self._identify(req)
            if caller is not None:
                await self._throttle.count_caller(req, resp, caller)
            check_caller(caller, requirement)
            req.context.caller = caller
        if req.query_string:
            self._parameters.check(req)

    async def _identify(self, req: falcon.asgi.Request) -> Caller | None:
        """Returns the caller; counts failures. Raises Problem 401, 429, 503."""
        self._throttle.check_failures(req)
        try:
            if req.uri_template == _METRICS:
                return await self._metrics_readers.identify(req)
            return await self._authenticator.identify(req)
        except Problem as problem:
            if problem.status is HTTPStatus.UNAUTHORIZED:
                await self._throttle.count_failure(req, problem)
            raise

    async def _throttle_public(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, route: str
    ) -> None:
        """Counts a request for a public route: to its address, or its caller if the route has one.

        Raises Problem 429.
        """
        caller = None
        if self._throttle.has_callers(route):
            with suppress(Problem, EnrollmentError):  # invalid credentials: the route needs none
                caller = await self._identify(req)
        if caller is None:
            await self._throttle.count_anonymous(req, resp, route)
        else:
            await self._throttle.count_caller(req, resp, caller)


@lru_cache(maxsize=256)
def _is_host(host: str) -> bool:
    return _HOST.fullmatch(host) is not None


def _check_listed(resource: object, method: str) -> None:
    """Raises LookupError for a served method without an entry in `PERMISSIONS`."""
    responder = f"on_{method.lower()}"
    if any(name.startswith(responder) for name in dir(resource)):
        message = f"{type(resource).__name__}.{responder} has no entry in PERMISSIONS"
        raise LookupError(message)
