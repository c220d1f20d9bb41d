"""Records spans with the SDK of OpenTelemetry. Imported only where traces are on."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import default_getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from enrollment.runtime.tracing.span_values import Attributes, OpenSpan, SpanKind
from enrollment.runtime.tracing.variables import find_exporters, names_service

_DISTRIBUTION = "enrollment-service"
_KINDS = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
_W3C = TraceContextTextMapPropagator()


class RecordedSpan(OpenSpan):
    """A span that is recorded."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """The context of its children."""
        return _traceparent(self._span)

    def rename(self, name: str) -> None:
        """Gives it another name."""
        self._span.update_name(name)

    def annotate(self, attributes: Attributes) -> None:
        """Adds attributes."""
        self._span.set_attributes(attributes)

    def fail(self, reason: str) -> None:
        """Marks it as failed."""
        self._span.set_attribute("error.type", reason)
        self._span.set_status(trace.StatusCode.ERROR)

    def end(self, at: int | None = None) -> None:
        """Ends it, now or at a time in nanoseconds since 1970."""
        self._span.end(at)


class TraceRecorder:
    """Records the spans of one process; may be used by several threads."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_DISTRIBUTION, version(_DISTRIBUTION))
        self._propagator = get_global_textmap()

    def close(self) -> None:
        """Sends what was recorded; waits for that as long as the SDK is set to."""
        self._provider.shutdown()

    def current(self) -> str | None:
        """Returns the context of the open span; None without one."""
        return _traceparent(trace.get_current_span())

    def inject(self, headers: dict[str, str]) -> None:
        """Adds the context of the open span, in the forms of OTEL_PROPAGATORS."""
        self._propagator.inject(headers)

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes | None = None,
        *,
        parent: str | None = None,
        at: int | None = None,
    ) -> RecordedSpan:
        """Returns a span that begins now, or at a time in nanoseconds since 1970.

        The caller must end it. It does not become the current span.
        """
        span = self._tracer.start_span(
            name,
            context=_context_of(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            start_time=at,
        )
        return RecordedSpan(span)

    @contextmanager
    def open(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes | None = None,
        *,
        parent: str | None = None,
    ) -> Iterator[RecordedSpan]:
        """Opens a span for the block, as `spans.open_span` does."""
        with self._open(name, kind, attributes, _context_of(parent)) as span:
            yield span

    @contextmanager
    def open_for_request(
        self, name: str, headers: Mapping[str, str], attributes: Attributes
    ) -> Iterator[RecordedSpan]:
        """Opens the span of a request for the block; its headers may name the parent."""
        context = self._propagator.extract(headers, Context(), default_getter)
        with self._open(name, SpanKind.SERVER, attributes, context) as span:
            yield span

    @contextmanager
    def _open(
        self, name: str, kind: SpanKind, attributes: Attributes | None, context: Context | None
    ) -> Iterator[RecordedSpan]:
        # the SDK would record the text of an error, which may have anything in it
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=_KINDS[kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            span = RecordedSpan(opened)
            try:
                yield span
            except BaseException as error:
                span.fail(type(error).__name__)
                raise

    @contextmanager
    def in_each(
        self,
        name: str,
        kind: SpanKind,
        traceparents: Collection[str],
        attributes: Attributes | None = None,
    ) -> Iterator[None]:
        """Records the block as a span in each of the traces."""
        spans = [self.start(name, kind, attributes, parent=each) for each in traceparents]
        try:
            yield
        except BaseException as error:
            for span in spans:
                span.fail(type(error).__name__)
            raise
        finally:
            end_all(spans)


def end_all(spans: Iterable[RecordedSpan]) -> None:
    """Ends spans, all at the same time."""
    now = time.time_ns()
    for span in spans:
        span.end(now)


def _context_of(parent: str | None) -> Context | None:
    """Returns the context that a traceparent names; None, the current one, without a parent."""
    return None if parent is None else _W3C.extract({"traceparent": parent}, Context())


def _traceparent(span: trace.Span) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    ids = f"{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
    return f"00-{ids}-{context.trace_flags:02x}"


def make_recorder(process: str) -> TraceRecorder:
    """Makes the recorder of a process as the variables say: exporters, sampler, limits, resource.

    Its service is `enrollment-PROCESS` unless they name another. Raises TraceSettingError.
    """
    attributes = {SERVICE_VERSION: version(_DISTRIBUTION)}
    if not names_service():
        attributes[SERVICE_NAME] = f"enrollment-{process}"
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    for exporter in find_exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter.load()()))
    return TraceRecorder(provider)
