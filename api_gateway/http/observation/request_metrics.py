"""Measures requests by route, method and status."""

from collections.abc import Callable
from typing import Any

from falcon.constants import COMBINED_METHODS

from enrollment.runtime.metrics.instruments import HTTP_REQUEST_SECONDS

#: Key in the scope of the name of the route, once it is known.
ROUTE = "enroll.route"
_METHODS = frozenset(COMBINED_METHODS)

_Observe = Callable[[float], None]
#: The measurement of each combination; as many as routes, methods and statuses allow.
_observers: dict[tuple[str, str, int], _Observe] = {}


def measure_request(scope: Any, status: int, seconds: float) -> None:
    """Counts a response that begins, and the seconds since its request arrived."""
    method = scope["method"]
    key = scope.get(ROUTE, "none"), method if method in _METHODS else "other", status
    observe = _observers.get(key)
    if observe is None:
        observe = _observers[key] = HTTP_REQUEST_SECONDS.labels(*key).observe
    observe(seconds)
