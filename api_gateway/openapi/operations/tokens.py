"""The operation that gives access tokens to OAuth clients."""

from api_gateway.http.openedx_body import URLENCODED_FORM
from api_gateway.openapi.model import (
    JSON,
    Operation,
    Response,
    enumeration,
    json_content,
    text,
)
from api_gateway.resources.openedx.access_token import (
    DEFAULT_TOKEN_TYPE,
    GRANT_TYPE,
    TOKEN_TYPES,
)

_BODY = {
    "type": "object",
    "properties": {
        "grant_type": enumeration([GRANT_TYPE]),
        "client_id": text("The client, unless it is in `Authorization: Basic`."),
        "client_secret": text(format="password"),
        "token_type": text(
            f"{' or '.join(TOKEN_TYPES)}, in upper or lower case.", default=DEFAULT_TOKEN_TYPE
        ),
        "scope": text("Names of scopes; a token has all of them anyway."),
    },
    "required": ["grant_type"],
    "examples": [
        {
            "grant_type": GRANT_TYPE,
            "client_id": "sis",
            "client_secret": "ens_the-secret-of-the-client",
            "token_type": "jwt",
        }
    ],
}

OPERATIONS = (
    Operation(
        "access_token",
        "POST",
        "createAccessToken",
        "Get an access token with the credentials of a client",
        description=(
            "The token (a JWT) is that of the client's user, who may be staff. Operators make "
            "clients with `enroll clients create`, or in ENROLL_OAUTH_CLIENTS. The credentials are "
            "in the body or in `Authorization: Basic`. Errors have the members `error` and "
            "`error_description` of RFC 6749. 503 on a gateway without a key to sign with; the "
            "message says what is missing."
        ),
        body={URLENCODED_FORM: _BODY, "multipart/form-data": _BODY, JSON: _BODY},
        responses={
            200: Response(
                "The token; it is valid for expires_in seconds.",
                json_content("AccessToken"),
                "Cache-Control Pragma",
            )
        },
        problems=(
            "invalid_request unsupported_grant_type invalid_scope incomplete_body malformed_json "
            "invalid_client request_timeout too_large unsupported_media_type"
        ),
        problem_headers="Cache-Control Pragma",
        throttled=True,
    ),
)
