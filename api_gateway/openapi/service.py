"""Operations of the service itself: health, and what describes it."""

from api_gateway.openapi.parts import HTML, JSON, Answer, Operation, json

_TAG = "Service"
_HEADERS = ("ETag", "Cache-Control", "Content-Security-Policy")
_SAME = Answer("It has not changed.", headers=_HEADERS)
_PAGE = Answer("The page.", {HTML: {"type": "string"}}, _HEADERS)

OPERATIONS = (
    Operation(
        _TAG,
        "livez",
        "GET",
        "isLive",
        "Whether the process answers",
        answers={200: Answer("It does.", json("Live"))},
        uses_records=False,
    ),
    Operation(
        _TAG,
        "readyz",
        "GET",
        "isReady",
        "Whether the service can keep its promise",
        answers={
            200: Answer("It can; what is amiss beside that stands in findings.", json("Ready")),
            503: Answer(
                "The database does not answer, or lacks migrations.",
                json("Ready"),
                ("Retry-After",),
            ),
        },
        uses_records=False,
    ),
    Operation(
        _TAG,
        "openapi",
        "GET",
        "getOpenApi",
        "This document",
        parameters=("If-None-Match",),
        answers={
            200: Answer("The document.", {JSON: {"type": "object"}}, _HEADERS),
            304: _SAME,
        },
        uses_records=False,
    ),
    Operation(
        _TAG,
        "docs",
        "GET",
        "getDocs",
        "A page with every route",
        parameters=("If-None-Match",),
        answers={200: _PAGE, 304: _SAME},
        uses_records=False,
    ),
    Operation(
        _TAG,
        "docs_reasons",
        "GET",
        "getReasons",
        "A page with every reason and code",
        parameters=("If-None-Match",),
        answers={200: _PAGE, 304: _SAME},
        uses_records=False,
    ),
)
