"""Measures requests by route, method and status."""

from typing import Any

from falcon.constants import COMBINED_METHODS

from enrollment.runtime.metrics.request_seconds import HTTP_REQUEST_SECONDS

#: Key in the scope of the name of the route, once it is known.
ROUTE = "enroll.route"
_METHODS = frozenset(COMBINED_METHODS)

_observe = HTTP_REQUEST_SECONDS.observe


def measure_request(scope: Any, status: int, seconds: float) -> None:
    """Counts a response that begins, and the seconds since its request arrived."""
    method = scope["method"]
    key = scope.get(ROUTE, "none"), method if method in _METHODS else "other", status
    _observe(key, seconds)
