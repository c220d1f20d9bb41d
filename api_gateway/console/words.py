"""Words and formats of the templates: numbers, times, names of outcomes, formats and states."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from enrollment.domain.codes import Code, State, SubmissionResult

#: Outcomes in the order in which they are shown, with their names.
OUTCOME_WORDS: Mapping[Code, str] = {
    Code.ENROLLED: "Enrolled",
    Code.REACTIVATED: "Enrolled again",
    Code.MODE_CHANGED: "Mode changed",
    Code.DEACTIVATED: "Withdrawn",
    Code.UPDATED: "Updated",
    Code.UNCHANGED: "Unchanged",
    Code.SUPERSEDED: "Superseded",
    Code.SKIPPED: "Skipped",
    Code.REFUSED: "Refused",
    Code.INVALID: "Invalid",
    Code.CANCELLED: "Cancelled",
}
#: How an outcome is coloured: a change, nothing new, or a failure.
OUTCOME_TONES: Mapping[Code, str] = {
    Code.ENROLLED: "good",
    Code.REACTIVATED: "good",
    Code.MODE_CHANGED: "change",
    Code.DEACTIVATED: "change",
    Code.UPDATED: "change",
    Code.UNCHANGED: "quiet",
    Code.SUPERSEDED: "quiet",
    Code.SKIPPED: "quiet",
    Code.REFUSED: "bad",
    Code.INVALID: "bad",
    Code.CANCELLED: "quiet",
}
STATE_WORDS: Mapping[State, str] = {
    State.QUEUED: "Waiting",
    State.RUNNING: "Running",
    State.DONE: "Done",
    State.CANCELLED: "Cancelled",
}
RESULT_WORDS: Mapping[SubmissionResult, tuple[str, str]] = {
    SubmissionResult.SUCCEEDED: ("Succeeded", "good"),
    SubmissionResult.PARTIAL: ("Some rows failed", "warn"),
    SubmissionResult.FAILED: ("Failed", "bad"),
}
#: States of deliveries, and of reports of destinations, with their colours.
DELIVERY_WORDS: Mapping[str, tuple[str, str]] = {
    "pending": ("Waiting", "change"),
    "delivered": ("Delivered", "good"),
    "failed": ("Failed", "bad"),
}
REPORT_WORDS: Mapping[str, tuple[str, str]] = {
    "queued": ("Waiting", "change"),
    "running": ("Running", "change"),
    "done": ("Done", "good"),
    "failed": ("Failed", "bad"),
}
REPORT_KINDS: Mapping[str, str] = {
    "reconcile": "Comparison",
    "pull": "Courses read",
    "import": "Enrollments read",
}
DIFFERENCE_WORDS: Mapping[str, str] = {
    "missing_there": "Missing there",
    "extra_there": "Only there",
    "other_activity": "Active on one side",
    "other_mode": "Another mode",
}
DISABLED_WORDS: Mapping[str, str] = {
    "operator": "Disabled by an operator",
    "gone": "Disabled: it answered 410",
    "unverified": "Not verified: it has not answered the challenge",
}
#: Stands for what is not known or not set.
NO_VALUE = "\N{EN DASH}"
_MINUTE, _HOUR = 60, 3_600


def grouped(value: int) -> str:
    """Renders a number with separators of thousands."""
    return f"{value:,}"


def moment(at: datetime | None) -> str | Markup:
    """Renders a time in UTC; a script shows it in the zone of the reader."""
    if at is None:
        return NO_VALUE
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{} UTC</time>').format(
        utc.isoformat(timespec="seconds"),
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        f"{utc:%Y-%m-%d %H:%M}",
    )


def span(seconds: float | timedelta | None) -> str:
    """Renders a time that something takes, to the second, minute or hour."""
    if seconds is None:
        return NO_VALUE
    whole = round(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
