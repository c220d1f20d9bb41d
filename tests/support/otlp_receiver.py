"""A receiver of traces: OTLP over HTTP, as a collector takes them."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class ReceivedSpan(NamedTuple):
    """A span as it was sent."""

    service: str
    name: str
    trace_id: str
    span_id: str
    #: Empty for the first of its trace.
    parent_id: str
    kind: int
    attributes: dict[str, str]


class OtlpReceiver:
    """Keeps the spans that are sent to it."""

    def __init__(self) -> None:
        self.received: list[ReceivedSpan] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.extend(_spans(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name)
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        """Starts to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of_trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Returns the spans of a trace."""
        return [span for span in self.received if span.trace_id == trace_id]


def _spans(body: bytes) -> list[ReceivedSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        _received(_texts(of_process.resource.attributes)["service.name"], span)
        for of_process in request.resource_spans
        for scope in of_process.scope_spans
        for span in scope.spans
    ]


def _received(service: str, span: Span) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        _texts(span.attributes),
    )


def _texts(attributes: Any) -> dict[str, str]:
    return {
        each.key: str(getattr(each.value, each.value.WhichOneof("value"))) for each in attributes
    }
