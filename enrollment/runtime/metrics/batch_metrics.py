"""Counts attempts at batches, and the rows that got an outcome by them."""

from collections.abc import Mapping

from enrollment.domain.codes import Code
from enrollment.runtime.metrics.instruments import (
    BATCH_ATTEMPTS,
    BATCH_SECONDS,
    BATCHES,
    ROW_REASONS,
    ROWS,
)


def count_attempt(result: str, seconds: float) -> None:
    """Counts an attempt that ended."""
    BATCH_ATTEMPTS.labels(result).inc()
    BATCH_SECONDS.observe(seconds)


def count_rows(batches: int, outcomes: Mapping[Code, int], reasons: Mapping[str, int]) -> None:
    """Counts batches that were completed, and their rows by outcome and by reason."""
    BATCHES.inc(batches)
    for outcome, number in outcomes.items():
        ROWS.labels(outcome.value).inc(number)
    for reason, number in reasons.items():
        ROW_REASONS.labels(reason).inc(number)
