"""A submission as callers see it."""

from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from enrollment.domain.codes import CallerKind, Code, Kind, State
from enrollment.domain.model import EPOCH, Outcome
from enrollment.domain.rules import moment_text
from enrollment.domain.submissions import Member, Submission
from schemas.foreign.detect import NATIVE, taken_for
from schemas.outcomes import dump_outcome

#: Where submissions are found.
PATH = "/api/enrollment/v1/submissions"
#: Seconds that a poller is asked to leave between two looks, at least and at most.
_SOONEST, _LATEST = 1, 30
#: Outcomes a second that are assumed before there is a measure.
_ASSUMED_PACE = 10_000


def dump_submission(
    submission: Submission,
    *,
    now: datetime,
    outcome: Outcome | None = None,
    enrollment: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The status object; ``outcome`` and ``enrollment`` for a single that is done."""
    tally = submission.tally
    counts = {"total": submission.total, "pending": submission.pending}
    counts |= {code.value: tally.counts.get(code, 0) for code in Code}
    link = f"{PATH}/{submission.id}"
    shown: dict[str, Any] = {
        "submission_id": str(submission.id),
        "kind": submission.kind.value,
        "state": submission.state.value,
        "result": None if submission.result is None else submission.result.value,
        "format": submission.format,
        "options": submission.options.as_json(),
        "caller": caller_name(submission.caller),
        "counts": counts,
        "reasons": dict(tally.reasons),
        "progress": round(submission.progress, 4),
        "rows_per_second": submission.rows_per_second(now),
        "eta_seconds": submission.eta_seconds(now),
        "received_at": moment_text(submission.received_at),
        "started_at": _moment(submission.started_at),
        "finished_at": _moment(submission.finished_at),
        "links": {
            "self": link,
            "outcomes": f"{link}/outcomes",
            "events": f"{link}/events",
            "cancel": f"{link}/cancel",
        },
    }
    shown |= _shown_files(submission)
    if submission.kind is Kind.SINGLE and outcome is not None:
        shown["outcome"] = dump_outcome(outcome)
        shown["enrollment"] = enrollment
    return shown


def _shown_files(submission: Submission) -> dict[str, Any]:
    """What the columns of a CSV file, or of each file of an archive, were taken for."""
    if submission.files:
        return {"files": [_shown_file(submission, member) for member in submission.files]}
    if submission.header is None:
        return {}
    return {"columns": taken_for(submission.format or NATIVE, submission.header)}


def _shown_file(submission: Submission, member: Member) -> dict[str, Any]:
    shown = {
        "name": member.name,
        "format": member.format,
        "source": submission.source_of(member),
        "lines_before": member.lines_before,
    }
    if member.header is None:
        return shown
    return {**shown, "columns": taken_for(member.format, member.header)}


class _Pattern(NamedTuple):
    """The status object of a single that was just taken in, but for its id and its moment."""

    text: bytes
    id: bytes
    received_at: bytes

    def filled(self, submission_id: str, received_at: datetime) -> bytes:
        """The object of one single."""
        moment = _received(moment_text(received_at))
        return self.text.replace(self.received_at, moment).replace(self.id, submission_id.encode())


@lru_cache(maxsize=1_000)
def _pattern(caller: str) -> _Pattern:
    """The id stands in for others because nobody knows it, the moment because of its quotes."""
    sample = Submission(
        id=uuid4(),
        kind=Kind.SINGLE,
        caller=caller,
        caller_kind=CallerKind.SERVER,  # is not shown
        received_at=EPOCH,
        total=1,
    )
    text = orjson.dumps(dump_submission(sample, now=EPOCH))
    return _Pattern(text, str(sample.id).encode(), _received(moment_text(EPOCH)))


def _received(moment: str) -> bytes:
    return f'"received_at":"{moment}"'.encode()


def accepted_single(submission_id: str, caller: str, received_at: datetime) -> bytes:
    """The status object, as JSON, of a single that was just taken in.

    The same as ``dump_submission`` makes, in a twentieth of the time.
    """
    return _pattern(caller).filled(submission_id, received_at)


def caller_name(caller: str) -> str:
    """The name of a key or of a person, without its sort."""
    return caller.partition(":")[2] or caller


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment_text(moment)


def etag(submission: Submission, enrollment: dict[str, Any] | None = None) -> str:
    """Weak: changes with every outcome, not with the clock.

    The enrollment that is shown with a single goes on changing after its outcome.
    """
    shown = "" if enrollment is None else f"-{sha256(orjson.dumps(enrollment)).hexdigest()[:16]}"
    return f'W/"{position(submission)}{shown}"'


def position(submission: Submission) -> str:
    """How far it is, in a word that no other move leads to."""
    asked = "c" if submission.cancel_asked_at else ""
    return f"{submission.state.value}-{submission.tally.answered}{asked}"


def retry_after(submission: Submission, now: datetime) -> int | None:
    """Whole seconds until another look is worth it, growing with the work that is left."""
    if submission.state in {State.DONE, State.CANCELLED}:
        return None
    guess = submission.eta_seconds(now)
    left = submission.pending // _ASSUMED_PACE if guess is None else guess // 2
    return max(_SOONEST, min(_LATEST, left))
