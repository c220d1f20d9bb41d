"""Every code that a problem can carry, and what it means."""

from collections.abc import Mapping

from api_gateway import error_handlers
from schemas.outcomes import MESSAGES

#: Codes of the gateway itself, beside the reasons and the errors of the domain.
OF_THE_GATEWAY: Mapping[str, str] = {
    "bad_request": "A header or a parameter cannot be read.",
    "cancelled": "The request was cancelled before it was judged.",
    "course_missing": "The rows of the file name no course, and the option course_id is not there.",
    "course_twice": "The rows of the file name their courses, and the option course_id another.",
    "empty": "The file holds not one request.",
    "headers_too_large": "The request has too many headers, or too long ones.",
    "idempotency_key_invalid": "The Idempotency-Key is too long, or not printable ASCII.",
    "incomplete_body": "The body was broken off.",
    "incomplete_upload": "The upload was broken off; nothing of it was kept.",
    "invalid_body": "The body has not the shape that it must have; errors says where.",
    "invalid_course_id": "The address names no course key.",
    "invalid_email": "The address names no e-mail.",
    "invalid_parameter": "A parameter of the query has a value that it cannot have.",
    "invalid_source": "The address names nothing that ids could come from.",
    "invalid_username": "The address names no username.",
    "malformed_gzip": "The body is not gzip, or is damaged.",
    "malformed_json": "The body is not JSON; errors says at which line and column.",
    "malformed_form": "The form cannot be read, or has no field named file.",
    "malformed_zip": "The body is no ZIP archive that is read here, or is damaged.",
    "method_not_allowed": "The address does not take this method; Allow lists those it takes.",
    "not_authenticated": "Credentials are missing, unknown, expired or revoked.",
    "not_found": "There is no such thing, or it is somebody else's.",
    "not_text": "The file is neither UTF-8 nor Windows-1252 text.",
    "option_invalid": "An option of the submission is unknown or has no such value.",
    "repeated_columns": "The file names a column twice, or has too many.",
    "request_timeout": "The body did not come in whole in time.",
    "submission_not_finished": "Some requests have no outcome yet; files are given at the end.",
    "too_large": "The body is larger than is taken; the message says the limit.",
    "unclosed_quotes": "A quoted cell of the file never ends.",
    "unknown_columns": "The file is none that is known here; errors says what was found.",
    "unknown_document": "What is in the file is not what was said, or no list of requests.",
    "unsupported_media_type": "The Content-Type or Content-Encoding is none that is read here.",
}


def meanings() -> dict[str, str]:
    """What each code means; the facts in a reason's message stand in braces."""
    known = {
        code: (kind.__doc__ or "").strip() for kind, (_, code) in error_handlers.STATUS.items()
    }
    reasons = {reason.value: message for reason, message in MESSAGES.items()}
    unavailable = {"unavailable": "The service cannot store or read just now; try again later."}
    return {**known, **OF_THE_GATEWAY, **unavailable, **reasons}
