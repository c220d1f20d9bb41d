"""Spans as this process records them, kept in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from enrollment.runtime.tracing.recorder import TraceRecorder
from enrollment.runtime.tracing.spans import ACTIVE

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
#: The context of a request that another system traces.
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


class RecordedSpans:
    """Spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.recorder = TraceRecorder(provider)

    def all(self) -> list[ReadableSpan]:
        """Returns them in the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Returns those of a name."""
        return [span for span in self.all() if span.name == name]

    def the(self, name: str) -> ReadableSpan:
        """Returns the only one of a name."""
        (span,) = self.named(name)
        return span


@contextmanager
def recorded_spans() -> Iterator[RecordedSpans]:
    """Records the spans of the block."""
    spans = RecordedSpans()
    ACTIVE.recorder = spans.recorder
    try:
        yield spans
    finally:
        ACTIVE.recorder = None


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Returns the ids of a span's trace and of its parent."""
    context = span.get_span_context()
    assert context is not None
    parent = "" if span.parent is None else f"{span.parent.span_id:016x}"
    return f"{context.trace_id:032x}", parent


def traceparent_of(span: ReadableSpan) -> str:
    """Returns the context of a span's children."""
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
