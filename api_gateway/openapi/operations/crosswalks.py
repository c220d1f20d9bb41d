"""Operations on crosswalks, which map the ids of other systems to ours."""

from api_gateway.openapi.model import (
    CSV,
    JSON,
    Operation,
    Response,
    Schema,
    json_content,
    ref,
)
from api_gateway.openapi.operations.crud import TRANSFER_PROBLEMS, list_of
from api_gateway.openapi.operations.lines import CROSSWALK_CSV, MISSING_CSV, csv

_BODY: dict[str, Schema] = {
    **list_of("CrosswalkEntry", "entries"),
    CSV: csv(
        "The columns kind, theirs and ours. Rows without ours: PATCH skips, PUT refuses.",
        CROSSWALK_CSV,
    ),
}


def _save(method: str, summary: str) -> Operation:
    return Operation(
        "crosswalk",
        method,
        f"{method.lower()}Crosswalk",
        summary,
        description=(
            "Entries decide which learner and course a file means. For staff, and for keys with "
            "the scope admin."
        ),
        body=_BODY,
        responses={200: Response("The number of entries that were saved.", json_content("Saved"))},
        problems=f"invalid_source invalid_body incomplete_body {TRANSFER_PROBLEMS}",
    )


OPERATIONS = (
    Operation(
        "crosswalk",
        "GET",
        "getCrosswalk",
        "Get the crosswalk of a source",
        description="The ids of another system and ours. CSV can be edited and sent back.",
        parameters="limit same_as_limit cursor",
        responses={
            200: Response(
                "A page as JSON, or all entries as CSV.",
                {JSON: ref("Crosswalk"), CSV: csv("All entries.", CROSSWALK_CSV)},
                "Cache-Control Vary Content-Disposition",
            )
        },
        problems="invalid_source invalid_parameter",
        problem_headers="Cache-Control Vary",
    ),
    _save("PUT", "Replace the crosswalk of a source"),
    _save("PATCH", "Add or replace entries of a crosswalk"),
    Operation(
        "crosswalk_missing",
        "GET",
        "listMissing",
        "List the ids of a submission that are not mapped yet",
        description=(
            "The ids in refused rows that have no entry. Fill in the column ours, send the file "
            "back with PATCH, then submit the refused rows again."
        ),
        parameters="submission",
        responses={
            200: Response(
                "The columns kind, theirs, and ours, which is empty.",
                {CSV: csv("The ids.", MISSING_CSV)},
                "Cache-Control Content-Disposition",
            )
        },
        problems="invalid_source invalid_parameter not_found submission_not_finished",
        problem_headers="Cache-Control Retry-After",
    ),
)
