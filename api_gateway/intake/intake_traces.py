"""Spans of storing requests, where traces are on."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from enrollment.runtime.tracing.span_values import SUBMISSION_KEY
from enrollment.runtime.tracing.spans import ACTIVE, current_traceparent, open_span
from intake_store.group_store import Receipt, Storable
from intake_store.upload import StoredUpload, Upload

Traced = TypeVar("Traced", Storable, Upload)
Stored = TypeVar("Stored", Receipt, StoredUpload)


async def store_traced(request: Traced, store: Callable[[Traced], Awaitable[Stored]]) -> Stored:
    """Stores a request that names the trace that it belongs to; a span shows how long that took."""
    if ACTIVE.recorder is None:
        return await store(request)
    traceparent = request.traceparent or current_traceparent()
    with open_span("store submission") as span:
        stored = await store(request._replace(traceparent=traceparent))
        span.annotate({SUBMISSION_KEY: str(stored.submission_id)})
        return stored
