"""The promises, checked at the end of a schedule: history against records."""

from tests.faults.simulator import judging, taking
from tests.faults.simulator.history import History
from tests.faults.simulator.records import Records
from tests.faults.simulator.rows import rows_of

TAKEN = (
    taking.ids,
    taking.keys,
    taking.phantoms,
    taking.answers,
    taking.order_in_files,
    taking.cancelled,
    taking.readings,
)


def faults(history: History, records: Records) -> list[str]:
    """Everything that contradicts a promise; answers are judged where all of them are there."""
    found = list(history.faults)
    for check in TAKEN:
        found += check(history, records)
    if found:
        return found
    rows = list(rows_of(history, records))
    found += judging.order_of_calls(rows)
    found += judging.latest_wins(rows, records)
    found += judging.given_up(rows)
    found += judging.attempts_counted(history, records)
    found += judging.seats(history, records)
    if history.granted:
        found += judging.nothing_refused(rows)
    if not history.overlapped:
        found += judging.replayed(history, records)
    return found
