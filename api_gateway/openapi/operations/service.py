"""Operations of the service itself: health and documentation."""

from collections.abc import Mapping

from api_gateway.openapi.model import HTML, JSON, Operation, Response, Schema, json_content, text

_HEADERS = "ETag Cache-Control Content-Security-Policy Vary"
_STYLE = {"text/css": text(examples=[":root { color-scheme: light dark; }"])}
_METRICS = {"text/plain": text(examples=["# TYPE enroll_parked_batches gauge"])}
_PAGE = {HTML: text(examples=["<!doctype html>…"])}


def _static(route: str, id_: str, summary: str, content: Mapping[str, Schema]) -> Operation:
    """Returns an operation with a response that is constant for a release."""
    return Operation(
        route,
        "GET",
        id_,
        summary,
        description="It changes with the release only, and needs no credentials.",
        parameters="If-None-Match",
        responses={
            200: Response("The document.", content, f"{_HEADERS} Content-Encoding"),
            304: Response("Not modified.", headers=_HEADERS),
        },
        uses_database=False,
    )


OPERATIONS = (
    Operation(
        "livez",
        "GET",
        "isLive",
        "Check that the process is running",
        description="Asks neither the database nor Redis. On failure, restart the process.",
        responses={200: Response("It is running.", json_content("Live"))},
        uses_database=False,
    ),
    Operation(
        "readyz",
        "GET",
        "isReady",
        "Check that the service is ready",
        description=(
            "503 only without the database or its migrations; everything else that is wrong is in "
            "findings, and the status is degraded."
        ),
        responses={
            200: Response("Ready; findings lists other defects.", json_content("Ready")),
            503: Response(
                "The database is unavailable, or lacks migrations.",
                json_content("Ready"),
                "Retry-After",
            ),
        },
        uses_database=False,
    ),
    Operation(
        "metrics",
        "GET",
        "getMetrics",
        "Get the metrics of this process for Prometheus",
        description=(
            "Needs the scope read. What this gateway counts, and the state of the queue and of "
            "the relay, which every gateway reads from the database: take their maximum. Workers "
            "and beat serve their own metrics at ENROLL_METRICS_PORT."
        ),
        responses={200: Response("The metrics.", _METRICS)},
        uses_database=False,
    ),
    _static(
        "openapi",
        "getOpenApi",
        "Get this OpenAPI document",
        {JSON: {"type": "object", "examples": [{"openapi": "3.1.0"}]}},
    ),
    _static("docs", "getDocs", "Get the reference of the API as a page", _PAGE),
    _static("docs_reasons", "getReasons", "Get a page that explains all codes", _PAGE),
    _static("docs_style", "getDocsStyle", "Get the style sheet of the pages", _STYLE),
)
