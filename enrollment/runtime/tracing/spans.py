"""The spans of this process: recorded where traces are on, else at the cost of one look-up.

Work on many submissions at once (a group commit, a batch, a slice of the feed) is a span in the
trace of each: so each trace shows the whole way of its request. Attributes are ids, numbers and
codes, never names of people, addresses of requests, or texts that a caller sent, except the id
that a caller gave to a request (letters, digits and a few signs).
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from enrollment.runtime.tracing.span_values import Attributes, OpenSpan, SpanKind

if TYPE_CHECKING:
    from enrollment.runtime.tracing.recorder import TraceRecorder

_NOT_RECORDED = OpenSpan()


class _Active:
    """The recorder of this process; None while traces are off."""

    __slots__ = ("recorder",)

    def __init__(self) -> None:
        self.recorder: TraceRecorder | None = None


ACTIVE = _Active()


def current_traceparent() -> str | None:
    """Returns the context of the open span; None without one, or while traces are off."""
    recorder = ACTIVE.recorder
    return None if recorder is None else recorder.current()


@contextmanager
def open_span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    *,
    parent: str | None = None,
) -> Iterator[OpenSpan]:
    """Opens a span for the block, which fails with an error of it.

    Without a parent it is a child of the open span, or else the first of its trace.
    """
    if (recorder := ACTIVE.recorder) is None:
        yield _NOT_RECORDED
        return
    with recorder.open(name, kind, attributes, parent=parent) as span:
        yield span


@contextmanager
def span_in_each(
    name: str, kind: SpanKind, traceparents: Collection[str], attributes: Attributes | None = None
) -> Iterator[None]:
    """Records the block as a span in each of the traces."""
    recorder = ACTIVE.recorder
    if recorder is None or not traceparents:
        yield
        return
    with recorder.in_each(name, kind, traceparents, attributes):
        yield


def describe_answer(span: OpenSpan, status: int | None, error: str | None) -> None:
    """Adds the answer of another service: its status, and the code of what was wrong with it."""
    if status is not None:
        span.annotate({"http.response.status_code": status})
    if error is not None:
        span.fail(error)


def add_trace_headers(headers: dict[str, str]) -> None:
    """Adds the context of the open span to the headers of a request to another service."""
    if (recorder := ACTIVE.recorder) is not None:
        recorder.inject(headers)
