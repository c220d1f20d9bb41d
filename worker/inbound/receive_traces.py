"""Spans of messages that are received, where traces are on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from enrollment.runtime.tracing.span_values import SpanKind
from enrollment.runtime.tracing.spans import ACTIVE
from worker.inbound.messages import InboundMessage


@contextmanager
def receive_spans(messages: Sequence[InboundMessage]) -> Iterator[Sequence[InboundMessage]]:
    """Records the block as a span of each message, a child of what it names or the first of all.

    Yields the messages with the contexts of these spans, for their submissions.
    """
    if (recorder := ACTIVE.recorder) is None:
        yield messages
        return
    attributes = {"messaging.operation.type": "receive"}
    spans = [
        recorder.start("receive message", SpanKind.CONSUMER, attributes, parent=each.sender_context)
        for each in messages
    ]
    try:
        yield [
            message._replace(traceparent=span.traceparent)
            for message, span in zip(messages, spans, strict=True)
        ]
    except BaseException as error:
        for span in spans:
            span.fail(type(error).__name__)
        raise
    finally:
        for span in spans:
            span.end()
