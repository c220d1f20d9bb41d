"""Remedies of error codes, and of reasons whose sentences have none."""

from collections.abc import Mapping

from enrollment.domain.codes import Reason

#: Remedies of reasons whose texts have none: such rows are no mistakes.
REASON_REMEDIES: Mapping[Reason, str] = {
    Reason.STATUS_NOT_APPLICABLE: (
        "Nothing; to change the enrollment, write a status that enrolls or withdraws."
    ),
    Reason.NOT_CURRENT: "Nothing; send the row again when the record has begun, or mend its dates.",
}
_SEND_AGAIN = "Send all of it again; nothing was stored."
_CORRECT_URL = "Correct the URL; ids in it may be percent-encoded."
_CORRECT_PARAMETER = "Correct the parameter that errors names; expected has the nearest name."

#: Remedies by problem code.
CODE_REMEDIES: Mapping[str, str] = {
    "already_exists": "Nothing; it is there already.",
    "bad_request": "Correct what the message names.",
    "course_in_use": "Set its end of enrollment instead, or let it stay.",
    "course_missing": "Add the option course_id, or a column with the course.",
    "course_twice": "Leave out the option course_id.",
    "email_taken": "Find out whose address it is; change it there first.",
    "empty": "Check that the right file was sent.",
    "headers_too_large": "Send at most 100 headers and 32 kB of them.",
    "idempotency_key_in_flight": "Repeat the request a little later.",
    "idempotency_key_invalid": "Send up to 255 printable ASCII characters, such as a UUID.",
    "idempotency_key_reused": "Use a new key for each request.",
    "incomplete_body": _SEND_AGAIN,
    "incomplete_upload": _SEND_AGAIN,
    "invalid_body": "Correct the members that errors names.",
    "invalid_client": "Send a client id and secret that are valid; secrets are shown once.",
    "invalid_course_id": _CORRECT_URL,
    "invalid_email": _CORRECT_URL,
    "invalid_parameter": _CORRECT_PARAMETER,
    "invalid_request": "Send the fields that the message names.",
    "invalid_scope": "Leave scope out.",
    "invalid_source": _CORRECT_URL,
    "invalid_username": _CORRECT_URL,
    "learner_in_use": "Set is_active to false instead.",
    "malformed_form": "Send the file as the form field file.",
    "malformed_gzip": "Compress the file again, or send it without Content-Encoding.",
    "malformed_json": "Correct the JSON at the line and column in errors.",
    "malformed_zip": "Make the archive again, without encryption and in one part.",
    "method_not_allowed": "Use a method that Allow lists.",
    "no_user": "Send a token beside the key, or instead of it.",
    "not_authenticated": "Send a valid key or token; WWW-Authenticate names the ways.",
    "not_found": "Check the id, and that it was made with the same key or token.",
    "not_text": "Save the file as CSV in UTF-8.",
    "option_invalid": _CORRECT_PARAMETER,
    "quota_exceeded": "Repeat it after Retry-After, when earlier ones are finished.",
    "repeated_columns": "Give each column a name of its own; at most 1,000 columns.",
    "request_timeout": "Send it again over a steadier connection, compressed or in parts.",
    "submission_finished": "Send a new submission that undoes it.",
    "submission_not_finished": "Come back after Retry-After, or read the pages in JSON.",
    "throttled": "Come back after Retry-After, and ask less often.",
    "too_many_webhooks": "Remove a webhook that is not in use.",
    "too_large": "Split it into parts below the limit.",
    "unavailable": "Repeat it after Retry-After, with the same Idempotency-Key.",
    "unclosed_quotes": "Close the quotes at the line in errors.",
    "unknown_columns": "Name the columns as expected lists them, or say which format it is.",
    "unknown_document": "Send what the Content-Type says: a list of requests.",
    "unread_columns": "Rename or remove the column, or name it in the option ignore.",
    "unsupported_grant_type": "Send grant_type=client_credentials.",
    "unsupported_media_type": "Send one of the types that the message names.",
}
