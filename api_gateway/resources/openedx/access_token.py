"""`POST /oauth2/access_token`: access tokens for OAuth clients (RFC 6749, sections 4.4 and 5)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Literal, TypedDict

from falcon.asgi import Request, Response

from api_gateway.auth.caller_throttle import CallerThrottle
from api_gateway.auth.token_issuer import TOKEN_SCOPES, TokenIssuer
from api_gateway.http.problems import Problem
from api_gateway.http.responses import write_json
from api_gateway.resources.openedx.token_request import (
    ClientCredentials,
    client_credentials,
    oauth_problem,
    read_fields,
)
from schemas.encoding.json_types import Doc

GRANT_TYPE = "client_credentials"
#: Spellings of the token type in responses, by the name in requests.
TOKEN_TYPES: Mapping[str, Literal["JWT", "Bearer"]] = {"jwt": "JWT", "bearer": "Bearer"}
DEFAULT_TOKEN_TYPE = "bearer"  # noqa: S105 (no secret)
_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="api"'}


class AccessTokenJson(TypedDict):
    """An access token (RFC 6749, 5.1)."""

    access_token: Annotated[str, Doc("Send it as `Authorization: JWT T` or `Bearer T`.")]
    expires_in: Annotated[int, Doc("Seconds for which it is valid.")]
    token_type: Literal["JWT", "Bearer"]
    scope: str


class AccessTokenResource:
    """Gives a client a token of its user."""

    def __init__(self, issuer: TokenIssuer, throttle: CallerThrottle) -> None:
        self._issuer = issuer
        self._throttle = throttle

    async def on_post(self, req: Request, resp: Response) -> None:
        """Sends a token. Raises Problem 400, 401, 408, 413, 415, 429, 503; DatabaseUnavailable."""
        resp.set_headers(_HEADERS)
        fields = await read_fields(req)
        _check_grant(fields)
        token_type = _token_type(fields)
        _check_scopes(fields)
        credentials = client_credentials(req, fields)
        if credentials is None:
            raise _invalid_client("The request has no client_id and client_secret.")
        try:
            write_json(resp, await self._answer(credentials, token_type))
        except Problem as problem:
            if problem.status is HTTPStatus.UNAUTHORIZED:
                self._throttle.log_failure(req, "token", problem)
            raise

    async def _answer(self, credentials: ClientCredentials, token_type: str) -> AccessTokenJson:
        await self._throttle.count_token_request(credentials.client_id)
        token = await self._issuer.issue(credentials.client_id, credentials.secrets)
        if token is None:
            raise _invalid_client("The client is unknown, or its secret is wrong.")
        return {
            "access_token": token.text,
            "expires_in": token.expires_in,
            "token_type": TOKEN_TYPES[token_type],
            "scope": " ".join(TOKEN_SCOPES),
        }


def _check_grant(fields: dict[str, str]) -> None:
    grant = fields.get("grant_type", "")
    if not grant:
        raise oauth_problem("invalid_request", f"The field grant_type is missing: {GRANT_TYPE}.")
    if grant != GRANT_TYPE:
        raise oauth_problem("unsupported_grant_type", f"The only grant_type here is {GRANT_TYPE}.")


def _token_type(fields: dict[str, str]) -> str:
    token_type = fields.get("token_type", "").lower() or DEFAULT_TOKEN_TYPE
    if token_type not in TOKEN_TYPES:
        raise oauth_problem("invalid_request", "token_type must be jwt or bearer.")
    return token_type


def _check_scopes(fields: dict[str, str]) -> None:
    """Checks the names; a token has every scope, whichever of them are asked for."""
    if not set(fields.get("scope", "").split()) <= set(TOKEN_SCOPES):
        raise oauth_problem("invalid_scope", f"The scopes here are {' '.join(TOKEN_SCOPES)}.")


def _invalid_client(description: str) -> Problem:
    problem = oauth_problem("invalid_client", description, HTTPStatus.UNAUTHORIZED)
    problem.headers |= _CHALLENGE
    return problem
