"""Outcomes of a dry run: kept like all others, beside some what their row would have left.

Readers of outcomes see no difference; only who judges the next rows reads the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from enrollment.domain.batch_decision import EnrollmentKey
from enrollment.domain.codes import FAILURE_CODES
from enrollment.domain.dry_run import DryRunEffect
from enrollment.domain.model import EPOCH, Attribute, Enrollment, Outcome, WritePrecedence
from schemas.encoding.compact import pack_json, unpack_json

#: Cells of an outcome; a trace is the one behind them.
_CELLS = len(Outcome._fields)


class StoredEffect(NamedTuple):
    """A trace, and whose it is."""

    key: EnrollmentKey
    trace: DryRunEffect


def encode_dry_run(
    outcomes: Sequence[Outcome], traces: Mapping[EnrollmentKey, DryRunEffect]
) -> bytes:
    """The outcomes of a batch, the last one of each enrollment with what it would leave."""
    left = dict(traces)
    rows: list[tuple[object, ...]] = []
    for outcome in reversed(outcomes):
        trace = None
        if outcome.code not in FAILURE_CODES:
            trace = left.pop((outcome.course_id or "", outcome.user or ""), None)
        rows.append((*outcome, _encode_effect(trace)) if trace is not None else tuple(outcome))
    rows.reverse()
    return pack_json(rows)


def decode_effects(kept: bytes) -> Iterator[StoredEffect]:
    """What the rows of a batch would have left, in their order."""
    rows: Any = unpack_json(kept)
    for row in rows:
        if len(row) > _CELLS:
            yield StoredEffect((row[2], row[1]), _decode_effect(row[_CELLS]))


def _encode_effect(trace: DryRunEffect) -> tuple[object, ...]:
    return (trace.seats, trace.invitation, *state_of(trace.enrollment))


def state_of(state: Enrollment) -> tuple[object, ...]:
    """An enrollment without since when it is there, which no rule asks."""
    return (
        state.mode,
        state.is_active,
        state.activity_precedence,
        state.mode_precedence,
        state.attributes,
        state.attributes_precedence,
        state.cohort,
        state.cohort_precedence,
    )


def _decode_effect(cells: Sequence[Any]) -> DryRunEffect:
    seats, invitation, *state = cells
    return DryRunEffect(enrollment_of(state), seats, invitation)


def enrollment_of(cells: Sequence[Any]) -> Enrollment:
    """The enrollment out of its state."""
    mode, is_active, active, stated, attributes, attributes_clock, cohort, cohort_clock = cells
    return Enrollment(
        mode,
        is_active,
        EPOCH,
        WritePrecedence(*active),
        _decode_precedence(stated),
        tuple(Attribute(*attribute) for attribute in attributes),
        _decode_precedence(attributes_clock),
        cohort,
        _decode_precedence(cohort_clock),
    )


def _decode_precedence(cells: Sequence[int] | None) -> WritePrecedence | None:
    return None if cells is None else WritePrecedence(*cells)
