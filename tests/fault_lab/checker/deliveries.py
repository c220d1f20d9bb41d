"""Checks I9: what left the service, and what came in by messages, against the feed and the rows.

`find_faults` is a pure function of what a run left behind. The simulator and the processes of the
laboratory pass the same kind of record to it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: The code with which a message is refused on which the service failed.
INTERNAL_ERROR = "internal_error"


class Change(NamedTuple):
    """One change of the feed, with the id that it must have wherever it is delivered."""

    id: str
    #: What is kept in order: course and learner.
    enrollment: str


class Arrival(NamedTuple):
    """One delivery of a change, as a consumer received it."""

    id: str
    #: What must be the same in every delivery.
    content: bytes
    #: The part of the channel that has an order of its own; empty: all of it.
    lane: str = ""


class Reply(NamedTuple):
    """One reply: the id that the sender gave its message, the submission, and the outcomes."""

    request: str
    submission: str
    #: Each outcome as it is compared with the stored one; the code of a refusal.
    outcomes: tuple[str, ...]

    @property
    def is_refusal(self) -> bool:
        """Whether it says that the service failed on the message and stored nothing of it."""
        return self[1:] == ("", (INTERNAL_ERROR,))


class StoredResult(NamedTuple):
    """A submission that is stored for a message, with its outcomes in the order of its requests."""

    submission: str
    outcomes: tuple[str | None, ...]


@dataclass(kw_only=True)
class DeliveryRecord:
    """What a run left: the feed, the arrivals of each channel, messages, results and replies."""

    #: The changes of the feed in its order.
    changes: Sequence[Change]
    #: The arrivals of each channel in the order in which they came.
    arrivals: Mapping[str, Sequence[Arrival]]
    #: The number of requests of each message that was sent, by its id.
    requests: Mapping[str, int] = field(default_factory=dict)
    #: The submissions that are stored, by the id of their message.
    stored: Mapping[str, Sequence[StoredResult]] = field(default_factory=dict)
    replies: Sequence[Reply] = ()
    #: How many refusals because of an error of the service the errors of the run explain. The
    #: service may refuse a message that failed again and again (design: poison), and tells so.
    explained_refusals: int = 0
    #: How often each message was handed in, of those whose every copy is either stored or refused,
    #: and never both. Not those of the task: a call that was refused may be delivered again.
    copies: Mapping[str, int] = field(default_factory=dict)


def find_faults(record: DeliveryRecord) -> Iterator[str]:
    """Yields what is wrong, one line each; channels without faults yield nothing."""
    for channel, arrivals in record.arrivals.items():
        for fault in _channel_faults(record.changes, arrivals):
            yield f"{channel}: {fault}"
    yield from _result_faults(record)
    yield from _reply_faults(record)


def _channel_faults(changes: Sequence[Change], arrivals: Sequence[Arrival]) -> Iterator[str]:
    """Each change arrives, under its one id, always the same, the first time in order."""
    number_of = {change.id: number for number, change in enumerate(changes)}
    first: dict[str, Arrival] = {}
    newest: dict[tuple[str, str], int] = {}
    for arrival in arrivals:
        number = number_of.get(arrival.id)
        if number is None:
            yield f"{arrival.id} is the id of no change"
        elif arrival.id not in first:
            first[arrival.id] = arrival
            place = arrival.lane, changes[number].enrollment
            before = newest.get(place, -1)
            if before > number:
                yield (
                    f"{arrival.id} of {place[1]} came first after {changes[before].id}, "
                    "a later change of the enrollment"
                )
            newest[place] = max(before, number)
        elif first[arrival.id] != arrival:
            yield f"{arrival.id} came twice with different contents"
    for change in changes:
        if change.id not in first:
            yield f"{change.id} of {change.enrollment} never came"


def _result_faults(record: DeliveryRecord) -> Iterator[str]:
    """Each message is stored as one submission or refused; each of its requests has an outcome."""
    refused = Counter(reply.request for reply in record.replies if reply.is_refusal)
    if refused.total() > record.explained_refusals:
        yield f"{refused.total()} refusals, and errors explain {record.explained_refusals}"
    for request, number in record.requests.items():
        results = record.stored.get(request, ())
        copies = record.copies.get(request)
        if refused[request] == 0 or copies is None:
            is_right = len(results) == 1 or (refused[request] > 0 and not results)
        else:  # the copies that were not refused are stored as one
            is_right = len(results) == min(copies - refused[request], 1)
        if not is_right:
            and_refused = f" and {refused[request]} refusals" if refused[request] else ""
            yield f"message {request} became {len(results)} submissions{and_refused}, not 1"
        for result in results:
            known = sum(outcome is not None for outcome in result.outcomes)
            if (known, len(result.outcomes)) != (number, number):
                yield f"message {request} has {known} outcomes for {number} requests"
    for request in record.stored.keys() - record.requests.keys():
        yield f"message {request} is stored and was never sent"


def _reply_faults(record: DeliveryRecord) -> Iterator[str]:
    """Each message is replied to, always with its submission and its outcomes in their order.

    A refusal is no reply to a message that is stored: another copy of it may be.
    """
    replies: dict[str, list[Reply]] = defaultdict(list)
    for reply in record.replies:
        if not reply.is_refusal or reply.request not in record.stored:
            replies[reply.request].append(reply)
    for request in record.requests:
        if request not in replies:
            yield f"message {request} got no reply"
    for request, given in replies.items():
        if request not in record.requests:
            yield f"a reply is for message {request}, which was never sent"
        if len(set(given)) > 1:
            yield f"message {request} got {len(set(given))} replies that differ"
        stored = [(request, *result) for result in record.stored.get(request, ())]
        if stored and any(reply not in stored for reply in given):
            yield f"message {request} got a reply that is not what is stored"
