"""Logs the record of a process that is ready: its version, servers and settings."""

from importlib import metadata

import structlog

from enrollment.runtime.server_urls import without_secrets
from enrollment.runtime.settings import Settings, names_set

log = structlog.get_logger()


def log_ready(settings: Settings, **fields: object) -> None:
    """Logs `process.ready`: version, servers without passwords, and the names of set settings."""
    log.info(
        "process.ready",
        version=metadata.version("enrollment-service"),
        database=without_secrets(settings.database_url),
        redis=without_secrets(settings.redis_url),
        queue=without_secrets(settings.broker_url),
        settings=names_set(),
        **fields,
    )
