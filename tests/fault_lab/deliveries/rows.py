"""Reads the rows behind deliveries: the feed, and what is stored for each message."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from schemas.events import public_event_id
from tests.fault_lab.checker.deliveries import Change, StoredResult
from tests.fault_lab.checker.ledger import Item, Ledger
from tests.fault_lab.deliveries.entries import outcome_text

#: Before the ids of messages among the Idempotency-Keys.
_PREFIX = "inbound:id/"


def changes_of(ledger: Ledger) -> list[Change]:
    """Returns the changes of the feed in its order."""
    return [
        Change(str(public_event_id(event)), f"{event.course_id}/{event.username}")
        for event in ledger.events
    ]


def results_of(ledger: Ledger, caller: str) -> Mapping[str, list[StoredResult]]:
    """Returns the submissions of a caller by the id of their message.

    One that belongs to no message has an id that no sender uses.
    """
    message_of = {
        submission: key.removeprefix(_PREFIX)
        for key, submission in ledger.keys.items()
        if key.startswith(_PREFIX)
    }
    items: dict[str, list[Item]] = defaultdict(list)
    for (submission, _), item in sorted(ledger.items.items()):
        items[submission].append(item)
    results: dict[str, list[StoredResult]] = defaultdict(list)
    for submission, row in ledger.submissions.items():
        if row.caller == caller:
            message = message_of.get(submission, f"of submission {submission}")
            outcomes = tuple(map(_outcome, items[submission]))
            results[message].append(StoredResult(submission, outcomes))
    return results


def row_faults(ledger: Ledger) -> Iterator[str]:
    """Yields what is wrong with the rows themselves."""
    for submission, fault in ledger.inconsistencies:
        yield f"submission {submission}: {fault}"


def _outcome(item: Item) -> str | None:
    if item.outcome is None:
        return None
    return outcome_text(item.outcome.user, item.outcome.code, item.outcome.reason)
