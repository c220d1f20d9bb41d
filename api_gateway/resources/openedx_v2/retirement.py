"""`/enrollment/unenroll` of version 2: withdraws a retiring learner from every course.

See "Version 2" in docs/openedx-compatibility.md.
"""

from dataclasses import dataclass
from http import HTTPStatus

from falcon.asgi import Request, Response

from api_gateway.http.openedx_body import read_openedx_body
from api_gateway.http.problems import Problem, bad_request
from api_gateway.resources.openedx.unenroll import (
    MAX_UNENROLL_BODY,
    NO_USERNAME,
    NOT_RETIRING,
    UnenrollResource,
)
from api_gateway.resources.openedx_v2.v2_problems import v2_problems
from schemas.findings import Rule, at_pointer, finding


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirementResource:
    """Withdraws as version 1 does."""

    unenroll: UnenrollResource

    async def on_post(self, req: Request, resp: Response) -> None:
        """Responds as version 1 does. Raises Problem 400 without a username, 404."""
        body = await read_openedx_body(req, MAX_UNENROLL_BODY)
        if "username" not in body:
            missing = at_pointer(finding("username", None, Rule.REQUIRED))
            raise bad_request("invalid_body", NO_USERNAME, missing)
        with v2_problems():
            if not await self.unenroll.withdraw(req, resp, body):
                raise Problem(HTTPStatus.NOT_FOUND, "not_found", NOT_RETIRING)
