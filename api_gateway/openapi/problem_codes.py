"""All problem codes with their statuses and meanings."""

from collections.abc import Mapping

from api_gateway.http import problem_status
from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from schemas.enrollments import v1_refusal
from schemas.messages.reason_messages import meaning_of_reason

#: Meaning by code by status of the gateway's own codes; others are reasons and domain errors.
_GATEWAY_MEANINGS: Mapping[int, Mapping[str, str]] = {
    400: {
        "bad_request": "A header or a parameter is malformed.",
        "idempotency_key_invalid": "The Idempotency-Key is too long, or not printable ASCII.",
        "incomplete_body": "The request body is incomplete.",
        "incomplete_upload": "The upload is incomplete; nothing of it was stored.",
        "invalid_body": "The body does not match its schema; see errors.",
        "invalid_course_id": "The URL contains no valid course key.",
        "invalid_email": "The URL contains no valid e-mail address.",
        "invalid_request": "The token request lacks a field, or has one that is invalid.",
        "invalid_scope": "The token request names an unknown scope.",
        "unsupported_grant_type": "The only grant of the token route is client_credentials.",
        "invalid_parameter": "A query parameter is unknown, or has an invalid value.",
        "invalid_source": "The URL contains no valid source.",
        "invalid_username": "The URL contains no valid username.",
        "malformed_form": "The form is malformed, or has no field named file.",
        "malformed_gzip": "The body is not gzip, or is damaged.",
        "malformed_json": "The body is not valid JSON; errors gives line and column.",
        "malformed_zip": "The ZIP archive is damaged, or of a kind that is not supported.",
        "no_user": "The credentials are those of a server, which has no user: send a token.",
        "not_text": "The file is neither UTF-8 nor Windows-1252 text.",
        "option_invalid": "An option is unknown, or has an invalid value.",
        "unclosed_quotes": "A quoted cell of the file is never closed.",
    },
    401: {
        "invalid_client": "The OAuth client is unknown or revoked, or its secret is wrong.",
        "not_authenticated": "Credentials are missing, unknown, expired or revoked.",
    },
    404: {"not_found": "The resource does not exist, or belongs to another caller."},
    405: {"method_not_allowed": "The method is not supported here; Allow lists those that are."},
    408: {"request_timeout": "The body did not arrive in time."},
    409: {
        "already_exists": "The object exists already.",
        "cancelled": "The request was cancelled before it was processed.",
        "submission_not_finished": (
            "Some requests have no outcome yet; files are given at the end."
        ),
        "too_many_webhooks": "There are too many webhooks, of this caller, or at this host.",
    },
    413: {"too_large": "The body is too large; the message gives the limit."},
    415: {"unsupported_media_type": "The Content-Type or Content-Encoding is not supported."},
    422: {
        "course_missing": "The rows of the file name no course; give the option course_id.",
        "course_twice": "The rows of the file name their courses; leave out the option course_id.",
        "empty": "The file contains no requests.",
        "repeated_columns": "The file has a column twice, or too many columns.",
        "unread_columns": "A column is not read but looks like one that is; see the option ignore.",
        "unknown_columns": "The format of the file is not known; errors gives what was found.",
        "unknown_document": "The document does not match its type, or is not a list of requests.",
    },
    429: {
        "quota_exceeded": "The caller holds as much as one may; the message names the limit.",
        "throttled": "Too many requests in the last minute; Retry-After says when to go on.",
    },
    431: {"headers_too_large": "The request headers are too many or too long."},
    503: {"unavailable": "The database is temporarily unavailable. Retry later."},
}
_GATEWAY_STATUS = {code: status for status, codes in _GATEWAY_MEANINGS.items() for code in codes}
_DOMAIN_STATUS = {code: status.value for status, code in problem_status.PROBLEM_STATUS.values()}
_REASON_STATUS = {
    reason.value: v1_refusal(Outcome(1, None, None, Code.REFUSED, reason)).status.value
    for reason in Reason
}


def statuses(*, is_v1: bool) -> Mapping[str, int]:
    """Returns the status by code; on Open edX routes some reasons have another status."""
    if is_v1:
        return {**_DOMAIN_STATUS, **_GATEWAY_STATUS, **_REASON_STATUS}
    return {**_REASON_STATUS, **_DOMAIN_STATUS, **_GATEWAY_STATUS}


def meanings() -> dict[str, str]:
    """Returns the meaning by code, without the facts of an outcome."""
    known = {
        code: (kind.__doc__ or "").strip()
        for kind, (_, code) in problem_status.PROBLEM_STATUS.items()
    }
    for codes in _GATEWAY_MEANINGS.values():
        known |= codes
    return known | {reason.value: meaning_of_reason(reason) for reason in Reason}
