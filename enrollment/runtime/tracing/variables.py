"""Which traces the usual variables of OpenTelemetry ask for. Its SDK reads all others itself."""

import os
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: The exporter of each protocol of OTLP, as its package calls it.
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class TraceSettingError(ValueError):
    """The variables ask for traces that this process cannot send; the message says what helps."""


def wanted_exporters(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Returns the names of the exporters of traces; none where no traces are wanted.

    An endpoint or an exporter must be named: an installed SDK alone sends nothing. Raises
    TraceSettingError for an unknown protocol.
    """
    source = os.environ if environ is None else environ
    if source.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    is_sent = any(source.get(name) for name in _ENDPOINTS)
    named = source.get("OTEL_TRACES_EXPORTER") or ("otlp" if is_sent else "none")
    names = [name for each in named.split(",") if (name := each.strip())]
    return tuple(_otlp(source) if name == "otlp" else name for name in names if name != "none")


def _otlp(environ: Mapping[str, str]) -> str:
    protocol = next(filter(None, map(environ.get, _PROTOCOLS)), "http/protobuf")
    if protocol not in _OTLP:
        message = f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: known are {', '.join(_OTLP)}"
        raise TraceSettingError(message)
    return _OTLP[protocol]


def find_exporters(environ: Mapping[str, str] | None = None) -> list[EntryPoint]:
    """Returns the exporters of traces that are wanted. Imports none of them.

    Raises TraceSettingError if OpenTelemetry is not installed, or one of the exporters is not.
    """
    names = wanted_exporters(environ)
    if names and find_spec("opentelemetry") is None:
        message = (
            "The variables OTEL_… ask for traces, and OpenTelemetry is not installed: install the "
            "extra `otel` (pip install 'enrollment-service[otel]'), or unset them, or set "
            "OTEL_SDK_DISABLED=true"
        )
        raise TraceSettingError(message)
    return [_find(name) for name in names]


def _find(name: str) -> EntryPoint:
    found = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        message = (
            f"OTEL_TRACES_EXPORTER: there is no exporter {name!r} here. The extra `otel` has "
            "`otlp` (over HTTP) and `console`; others come with packages of OpenTelemetry"
        )
        raise TraceSettingError(message)
    return next(iter(found))


def names_service(environ: Mapping[str, str] | None = None) -> bool:
    """Returns whether the variables name the service in traces."""
    source = os.environ if environ is None else environ
    attributes = source.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    is_attribute = any(each.partition("=")[0].strip() == "service.name" for each in attributes)
    return is_attribute or bool(source.get("OTEL_SERVICE_NAME"))
