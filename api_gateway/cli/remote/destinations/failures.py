"""Why a job at a destination failed, in a sentence, and what helps."""

from collections.abc import Mapping

_SHOW = "check its address (enroll destinations show {name}), and that it runs"
_CREDENTIALS = "check its credentials (enroll destinations put {name} …)"
_NO_LIST = "check that its address is that of the LMS and not of another service"
#: A description and a remedy for each stable name of a failure.
_SENTENCES: Mapping[str, tuple[str, str]] = {
    "not_reachable": (
        "it cannot be reached: its host is unknown, refuses the connection, or TLS failed",
        _SHOW,
    ),
    "connect_timeout": ("no connection was made in time", _SHOW),
    "timeout": ("it did not answer in time", _SHOW),
    "connection_lost": ("the connection ended before the answer was complete", _SHOW),
    "destination_refused": (
        "its address must not be called",
        "give it another one, or see ENROLL_PRIVATE_DESTINATIONS",
    ),
    "token_refused": ("it gave no token", _CREDENTIALS),
    "malformed_token": ("its answer has no token that can be read", _CREDENTIALS),
    "refused": ("it refused the request", "check what its user or key may read"),
    "malformed_answer": ("its answer cannot be read", _NO_LIST),
    "foreign_link": ("its list goes on at another address", _NO_LIST),
    "repeated_page": ("its list has the same page twice", _NO_LIST),
    "too_many_pages": ("its list has no end", _NO_LIST),
    "too_many_states": ("it has more enrollments than can be compared", _NO_LIST),
    "internal_error": ("the service failed", "its operator finds why in the log of beat"),
    "removed": ("the destination was removed", "add it again if it is needed"),
}


def describe_job_failure(name: str, error: str) -> str:
    """Returns a sentence about the failed job of a destination, which has its stable name in it.

    `error` is that of the report: a stable name, maybe with a status, or a sentence.
    """
    what, remedy = _SENTENCES.get(error.partition(" ")[0], (None, None))
    if what is None or remedy is None:
        return f"{name}: {error}"
    return f"{name}: {what}. Error: {error}. To go on, {remedy.format(name=name)}."
