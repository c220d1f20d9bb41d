"""Entry point of ASGI servers: `api_gateway.asgi:create` (a factory)."""

from typing import Any

from api_gateway.app import make_asgi_app, make_parts
from api_gateway.http.draining import Draining
from enrollment.runtime import failpoints, logs
from enrollment.runtime.settings import from_env
from enrollment.runtime.tracing.process_traces import start_traces


def create(draining: Draining | None = None) -> Any:
    """Makes the application from the settings in the environment; `draining` is the server's."""
    settings = from_env(requires_database=True)
    logs.configure(settings.log_level, process="gateway")
    failpoints.arm(settings.failpoints)
    start_traces("gateway")
    return make_asgi_app(make_parts(settings, draining=draining))
