"""Files of other systems: operations on crosswalks, and the shapes that come with files."""

from collections.abc import Mapping
from typing import Any

from api_gateway.openapi.parts import (
    CSV,
    JSON,
    NDJSON,
    TEXT,
    WHOLE,
    Answer,
    Operation,
    Schema,
    json,
    listed,
    or_null,
    record,
    ref,
)

_TAG = "Crosswalks"
_ENTRIES = listed(ref("CrosswalkEntry"))
_BODY: dict[str, Schema] = {
    JSON: {
        "anyOf": [
            _ENTRIES,
            {
                "type": "object",
                "properties": {"entries": _ENTRIES},
                "required": ["entries"],
                "additionalProperties": False,
            },
        ]
    },
    NDJSON: {"type": "string", "description": "A CrosswalkEntry a line."},
    CSV: {
        "type": "string",
        "description": (
            "The columns kind, theirs and ours. PATCH passes over rows without ours, PUT refuses."
        ),
    },
}
_SAVED = Answer("So many entries were saved.", json("Saved"))
_ROWS_THAT_CHANGE = "They change whom files mean: for staff, and for keys with the scope admin."
_PROBLEMS = {
    400: "invalid_source invalid_body incomplete_body",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
}

#: What the columns of a file were taken for.
TAKEN_FOR: Schema = {
    "type": "object",
    "description": "The columns that are read, and what each was taken for.",
    "additionalProperties": TEXT,
}

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "ArchiveFile": record(
        "One file of an archive; lines are counted on from those of the files before it.",
        {
            "name": TEXT,
            "format": TEXT,
            "source": {
                **or_null(TEXT),
                "description": "The crosswalk that its ids are looked up in; null: they are ours.",
            },
            "lines_before": WHOLE,
            "columns": TAKEN_FOR,
        },
        optional=("columns",),
    ),
    "Crosswalk": record(
        "Some entries, in the order of kind and theirs.",
        {"source": TEXT, "entries": listed(ref("CrosswalkEntry")), "next": or_null(TEXT)},
    ),
}

OPERATIONS = (
    Operation(
        _TAG,
        "crosswalk",
        "GET",
        "getCrosswalk",
        "What the ids of a source are here",
        parameters=("limit", "cursor"),
        answers={
            200: Answer(
                "A page in JSON; everything in CSV.",
                {JSON: ref("Crosswalk"), CSV: {"type": "string"}},
                ("Cache-Control", "Vary", "Content-Disposition"),
            )
        },
        problems={400: "invalid_source invalid_parameter"},
        problem_headers=("Cache-Control", "Vary"),
    ),
    Operation(
        _TAG,
        "crosswalk",
        "PUT",
        "putCrosswalk",
        "These entries and no others",
        description=_ROWS_THAT_CHANGE,
        body=_BODY,
        answers={200: _SAVED},
        problems=_PROBLEMS,
    ),
    Operation(
        _TAG,
        "crosswalk",
        "PATCH",
        "patchCrosswalk",
        "These entries beside those that are there",
        description=_ROWS_THAT_CHANGE,
        body=_BODY,
        answers={200: _SAVED},
        problems=_PROBLEMS,
    ),
    Operation(
        _TAG,
        "crosswalk_missing",
        "GET",
        "listMissing",
        "Ids of a submission that are still to be mapped",
        description=(
            "The ids that rows were refused for and that are in no entry: fill in the column ours "
            "and send the file back with PATCH, then the refused rows again."
        ),
        parameters=("submission",),
        answers={
            200: Answer(
                "The columns kind, theirs and ours, which is empty.",
                {CSV: {"type": "string"}},
                ("Cache-Control", "Content-Disposition"),
            )
        },
        problems={
            400: "invalid_source invalid_parameter",
            404: "not_found",
            409: "submission_not_finished",
        },
        problem_headers=("Cache-Control", "Retry-After"),
    ),
)
