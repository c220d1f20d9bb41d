"""Spans of requests, where traces are on.

They name the route, never the address: paths and queries have names of learners in them.
"""

from typing import Any

from falcon.constants import COMBINED_METHODS

from api_gateway.http.observation.access_log import CONTEXT, TEMPLATE
from enrollment.runtime.tracing.span_values import OpenSpan
from enrollment.runtime.tracing.spans import ACTIVE

#: Paths that are asked every few seconds, and are part of no trace.
_UNTRACED = frozenset({"/livez", "/readyz", "/metrics"})
_METHODS = frozenset(COMBINED_METHODS)
_FIRST_SERVER_ERROR = 500


def trace_requests(app: Any) -> Any:
    """Wraps an ASGI app to record a span for each request, a child of what its headers name.

    Returns the app as it is while traces are off.
    """
    if (recorder := ACTIVE.recorder) is None:
        return app

    async def traced(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with recorder.open_for_request(method, _headers(scope), attributes) as span:

            def sending(event: Any) -> Any:
                if event["type"] == "http.response.start":
                    _describe(span, scope, method, event["status"])
                return send(event)

            await app(scope, receive, sending)

    return traced


def _headers(scope: Any) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _describe(span: OpenSpan, scope: Any, method: str, status: int) -> None:
    """Adds to the span what is known once the response begins."""
    template = scope.get(TEMPLATE)
    context = scope.get(CONTEXT)
    span.annotate({"http.response.status_code": status})
    if template:
        span.rename(f"{method} {template}")
        span.annotate({"http.route": template})
    if context is not None:
        span.annotate({"enroll.request_id": context.request_id})
    if status >= _FIRST_SERVER_ERROR:
        span.fail(str(status))
