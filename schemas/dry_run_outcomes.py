"""The stored form of dry-run outcomes: like all outcomes, some followed by the effect of their row.

Readers of outcomes ignore the effects; only the worker that decides on the next batches of the dry
run decodes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from enrollment.domain.batch_decision import EnrollmentKey
from enrollment.domain.codes import FAILURE_CODES
from enrollment.domain.dry_run import DryRunEffect
from enrollment.domain.model import EPOCH, Attribute, Enrollment, Outcome, WritePrecedence
from schemas.encoding.compact import pack_json, unpack_json

#: Cells of a stored outcome; the effect, if there is one, is the cell behind them.
_OUTCOME_CELLS = len(Outcome._fields)


class StoredEffect(NamedTuple):
    """The effect of a dry run on one enrollment."""

    key: EnrollmentKey
    effect: DryRunEffect


def encode_dry_run_outcomes(
    outcomes: Sequence[Outcome], effects: Mapping[EnrollmentKey, DryRunEffect]
) -> bytes:
    """Encodes the outcomes of a batch; each effect goes with its enrollment's last success."""
    remaining = dict(effects)
    rows: list[tuple[object, ...]] = []
    for outcome in reversed(outcomes):
        effect = None
        if outcome.code not in FAILURE_CODES:
            effect = remaining.pop((outcome.course_id or "", outcome.user or ""), None)
        rows.append((*outcome, _encode_effect(effect)) if effect is not None else tuple(outcome))
    rows.reverse()
    return pack_json(rows)


def decode_effects(stored: bytes) -> Iterator[StoredEffect]:
    """Yields the effects of a batch's rows, in the order of the rows."""
    rows: Any = unpack_json(stored)
    for row in rows:
        if len(row) > _OUTCOME_CELLS:
            yield StoredEffect((row[2], row[1]), _decode_effect(row[_OUTCOME_CELLS]))


def _encode_effect(effect: DryRunEffect) -> tuple[object, ...]:
    return (effect.seats, effect.invitation, *encode_enrollment_cells(effect.enrollment))


def encode_enrollment_cells(enrollment: Enrollment) -> tuple[object, ...]:
    """Returns the cells of an enrollment, without its creation time, which no rule reads."""
    return (
        enrollment.mode,
        enrollment.is_active,
        enrollment.activity_precedence,
        enrollment.mode_precedence,
        enrollment.attributes,
        enrollment.attributes_precedence,
        enrollment.cohort,
        enrollment.cohort_precedence,
    )


def _decode_effect(cells: Sequence[Any]) -> DryRunEffect:
    seats, invitation, *enrollment = cells
    return DryRunEffect(decode_enrollment_cells(enrollment), seats, invitation)


def decode_enrollment_cells(cells: Sequence[Any]) -> Enrollment:
    """Decodes an enrollment; its creation time is `EPOCH`."""
    (
        mode,
        is_active,
        activity_precedence,
        mode_precedence,
        attributes,
        attributes_precedence,
        cohort,
        cohort_precedence,
    ) = cells
    return Enrollment(
        mode,
        is_active,
        EPOCH,
        WritePrecedence(*activity_precedence),
        _decode_precedence(mode_precedence),
        tuple(Attribute(*attribute) for attribute in attributes),
        _decode_precedence(attributes_precedence),
        cohort,
        _decode_precedence(cohort_precedence),
    )


def _decode_precedence(cells: Sequence[int] | None) -> WritePrecedence | None:
    return None if cells is None else WritePrecedence(*cells)
