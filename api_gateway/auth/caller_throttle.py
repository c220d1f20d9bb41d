"""Which rate a request counts to: that of its caller, of its address, or of failures."""

from collections import OrderedDict
from collections.abc import Mapping

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.http.observation.failure_log import FailureLog
from api_gateway.http.problems import Problem
from api_gateway.server.connection_guard import address_of
from api_gateway.throttle.throttle import Throttle, set_rate_headers, throttled
from enrollment.domain.codes import CallerKind
from enrollment.runtime.setting_values import Rate
from enrollment.runtime.settings import Settings

#: Token requests of one client id may be so many times those of one address, so that no single
#: address can keep a client from its tokens.
ADDRESSES_PER_CLIENT = 5
#: Most addresses with failed authentications that are remembered, and credentials of each that
#: were valid nevertheless.
MAX_FAILING_ADDRESSES = 10_000
MAX_PROVEN_PER_ADDRESS = 1_000

#: Public routes whose requests count to their address, regardless of credentials: a caller who
#: guesses the secrets of clients may have a key.
BY_ADDRESS_ALONE = frozenset({"access_token"})


class CallerThrottle:
    """Throttles requests by the settings. Belongs to one event loop.

    An address with too many failed authentications is refused before its credentials are looked
    up, unless they were valid since its first failure: others behind its proxy are served.
    """

    def __init__(self, throttle: Throttle, settings: Settings) -> None:
        self._throttle = throttle
        self._is_on = settings.throttle
        self._keys = settings.throttle_keys
        self._by_kind = {
            CallerKind.LEARNER: ("learner", settings.throttle_learners),
            CallerKind.STAFF: ("staff", settings.throttle_staff),
        }
        self._tokens = settings.throttle_tokens
        self._failures = settings.throttle_failures
        #: Policy and rate of routes without credentials, by route name; others are not throttled.
        anonymous = ("anonymous", settings.throttle_anonymous)
        self._public: Mapping[str, tuple[str, Rate | None]] = {
            "course_details": anonymous,
            "v2_course_details": anonymous,
            "v2_course_legacy": anonymous,
            "access_token": ("tokens", settings.throttle_tokens),
        }
        #: Hashes of the credentials that were valid since the first failure of their address.
        self._proven: OrderedDict[str, set[int]] = OrderedDict()
        self._failure_log = FailureLog()

    async def count_caller(self, req: Request, resp: Response, caller: Caller) -> None:
        """Counts an authenticated request. Raises Problem 429."""
        if not self._is_on:
            return
        if self._proven:
            self._note_valid(req)
        policy, rate = self._policy(req, caller)
        if rate is not None:
            await self._count(resp, policy, caller.name, rate)

    def _policy(self, req: Request, caller: Caller) -> tuple[str, Rate | None]:
        """A key, also one beside a token, is throttled as a key (Open edX: by its permission)."""
        if caller.username is None or req.get_header("X-Edx-Api-Key"):
            return "key", self._keys
        return self._by_kind[caller.kind]

    def has_public_rate(self, route: str) -> bool:
        """Whether requests for a public route are throttled at all."""
        return self._is_on and route in self._public and self._public[route][1] is not None

    def has_callers(self, route: str) -> bool:
        """Whether a request for a public route with valid credentials counts to its caller."""
        return route not in BY_ADDRESS_ALONE

    async def count_anonymous(self, req: Request, resp: Response, route: str) -> None:
        """Counts a request for a public route by its address. Raises Problem 429."""
        policy, rate = self._public[route]
        if rate is not None:
            await self._count(resp, policy, _address(req), rate)

    async def count_token_request(self, client_id: str) -> None:
        """Counts a token request of a client id. Raises Problem 429."""
        if self._is_on and self._tokens is not None:
            rate = self._tokens._replace(amount=self._tokens.amount * ADDRESSES_PER_CLIENT)
            usage = await self._throttle.hit("client", client_id, rate)
            if not usage.is_admitted:
                raise throttled(rate, usage.reset_seconds)

    def check_failures(self, req: Request) -> None:
        """Raises Problem 429 for credentials from an address that failed too often."""
        if not self._is_on or self._failures is None or not self._proven:
            return
        self._check_failures(_address(req), _credentials(req), self._failures)

    def check_login(self, req: Request, text: str) -> None:
        """Raises Problem 429 for a log-in from an address that failed too often."""
        if self._is_on and self._failures is not None:
            self._check_failures(_address(req), hash(text), self._failures)

    def _check_failures(self, address: str, credentials: int | None, failures: Rate) -> None:
        if credentials is None or credentials in self._proven.get(address, ()):
            return
        seconds = self._throttle.seconds_refused("failures", address, failures)
        if seconds is not None:
            raise throttled(failures, seconds)

    def log_failure(self, req: Request, way: str, problem: Problem) -> None:
        """Logs a failed authentication that is counted elsewhere."""
        self._failure_log.note(_address(req), way, problem)

    async def count_failure(self, req: Request, problem: Problem) -> None:
        """Logs a failed authentication, and counts it by its address. Raises Problem 429."""
        self.log_failure(req, "request", problem)
        await self._count_failure(req, _credentials(req) or 0)

    async def count_failed_login(self, req: Request, text: str, problem: Problem) -> None:
        """Logs and counts a failed log-in like a failed authentication. Raises Problem 429."""
        self.log_failure(req, "console", problem)
        await self._count_failure(req, hash(text))

    def note_login(self, req: Request, text: str) -> None:
        """Notes that credentials were valid, whichever others of their address are not."""
        self._note(req, hash(text))

    async def _count_failure(self, req: Request, credentials: int) -> None:
        if not self._is_on or self._failures is None:
            return
        address = _address(req)
        self._proven.setdefault(address, set()).discard(credentials)
        self._proven.move_to_end(address)
        if len(self._proven) > MAX_FAILING_ADDRESSES:
            self._proven.popitem(last=False)
        usage = await self._throttle.hit("failures", address, self._failures)
        if not usage.is_admitted:
            raise throttled(self._failures, usage.reset_seconds)

    def _note_valid(self, req: Request) -> None:
        self._note(req, _credentials(req) or 0)

    def _note(self, req: Request, credentials: int) -> None:
        proven = self._proven.get(_address(req))
        if proven is not None and len(proven) < MAX_PROVEN_PER_ADDRESS:
            proven.add(credentials)

    async def _count(self, resp: Response, policy: str, caller: str, rate: Rate) -> None:
        usage = await self._throttle.hit(policy, caller, rate)
        set_rate_headers(resp, policy, rate, usage)
        if not usage.is_admitted:
            raise throttled(rate, usage.reset_seconds)

    async def close(self) -> None:
        """Closes the connection to Redis."""
        await self._throttle.close()


def _credentials(req: Request) -> int | None:
    """Returns a hash of the credentials, with the secret of this process; None without any."""
    credentials = req.get_header("X-Edx-Api-Key"), req.get_header("Authorization")
    return None if credentials == (None, None) else hash(credentials)


def _address(req: Request) -> str:
    """Returns the address of the peer, or the one that a trusted proxy names."""
    return address_of(req.remote_addr)
