"""Where a server finds the application: ``api_gateway.asgi:create`` (a factory)."""

from typing import Any

from api_gateway.app import make_app, make_parts
from enrollment import failpoints, logs
from enrollment.settings import from_env


def create() -> Any:
    """The application that the environment asks for."""
    settings = from_env()
    logs.configure(settings.log_level, process="gateway")
    failpoints.arm(settings.failpoints)
    return make_app(make_parts(settings))
