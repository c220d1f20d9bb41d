"""Collects the opt-ins to e-mail that the requests of a batch state."""

from collections.abc import Sequence
from operator import attrgetter

from enrollment.domain.codes import Code
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.model import Outcome
from worker.processing.row_resolution import DecodedRow

#: Outcomes of requests that are applied, or hold already. A superseded one is older than what is
#: stored.
_APPLIED = frozenset(
    {
        Code.ENROLLED,
        Code.REACTIVATED,
        Code.MODE_CHANGED,
        Code.DEACTIVATED,
        Code.UPDATED,
        Code.UNCHANGED,
    }
)
_opt_in_of = attrgetter("request.email_opt_in")
_NEVER_STATED = frozenset({None})


def applied_opt_ins(
    rows: Sequence[DecodedRow], outcomes: Sequence[Outcome]
) -> dict[tuple[str, str], bool]:
    """Returns what the applied requests state, by (username, org); the last one counts.

    `rows` are those of the decided requests, `outcomes` theirs, both in order.
    """
    if _NEVER_STATED.issuperset(map(_opt_in_of, rows)):
        return {}
    stated = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        opt_in = _opt_in_of(row)
        if opt_in is None or outcome.code not in _APPLIED or outcome.user is None:
            continue
        key = parse_course_key(outcome.course_id or "")
        if key is not None:
            stated[outcome.user, key.org] = opt_in
    return stated
