"""Checks the invariants at the end of a schedule: history against database."""

from tests.fault_lab.simulator.checks import intake_checks, outcome_checks
from tests.fault_lab.simulator.checks.database_contents import DatabaseContents
from tests.fault_lab.simulator.checks.rows import rows_of
from tests.fault_lab.simulator.history import History

INTAKE_CHECKS = (
    intake_checks.ids,
    intake_checks.keys,
    intake_checks.phantoms,
    intake_checks.answers,
    intake_checks.order_in_files,
    intake_checks.cancelled,
    intake_checks.outcome_reads,
)


def faults(history: History, contents: DatabaseContents) -> list[str]:
    """Returns all violations; the outcomes are checked only if intake has no violation."""
    found = list(history.faults)
    for check in INTAKE_CHECKS:
        found += check(history, contents)
    if found:
        return found
    rows = list(rows_of(history, contents))
    found += outcome_checks.order_of_calls(rows)
    found += outcome_checks.latest_wins(rows, contents)
    found += outcome_checks.poison_rejected(rows)
    found += outcome_checks.attempts_counted(history, contents)
    found += outcome_checks.seats(history, contents)
    if history.granted:
        found += outcome_checks.nothing_refused(rows)
    if not history.overlapped:
        found += outcome_checks.replayed(history, contents)
    return found
