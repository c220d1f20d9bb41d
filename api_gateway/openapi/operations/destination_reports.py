"""Operations on jobs at destinations, and on their reports."""

from api_gateway.openapi.model import CSV, JSON, Operation, Response, json_content, ref
from api_gateway.openapi.operations.lines import DIFFERENCES_CSV, csv


def _job(name: str, summary: str, description: str, parameters: str = "") -> Operation:
    content = json_content("DestinationReport")
    return Operation(
        f"destination_{name}",
        "POST",
        f"{name}Destination",
        summary,
        {202: Response("The job, to be followed at `Location`.", content, "Location Retry-After")},
        description=f"{description} One of the kind that waits already is returned instead.",
        parameters=parameters,
        problems=f"not_found{' option_invalid' if parameters else ''}",
    )


OPERATIONS = (
    _job(
        "reconcile",
        "Compare with a destination",
        "Finds each enrollment that is missing there, extra there, or has another mode or activity "
        "there. With `apply=true` what is missing or differs is sent.",
        "apply",
    ),
    _job(
        "pull",
        "Pull courses of a destination",
        "Keeps title, windows, modes and invite-only of courses like those of the destination. "
        "Seats, cohorts and pacing stay.",
    ),
    _job(
        "import",
        "Import enrollments of a destination",
        "Takes over what is there already, as events of type `enrollment.imported`, which the "
        "destination does not get back. What was changed here later stays.",
    ),
    Operation(
        "destination_report",
        "GET",
        "getDestinationReport",
        "Get a report of a destination",
        {
            200: Response(
                "The report with a page of its differences as JSON, or all of them as CSV.",
                {
                    JSON: ref("DestinationReport"),
                    CSV: csv("All differences.", DIFFERENCES_CSV),
                },
                "Vary Content-Disposition Retry-After",
            )
        },
        description="The newest 50 reports of a destination are kept.",
        parameters="limit same_as_limit cursor",
        problems="not_found invalid_parameter",
        problem_headers="Vary",
    ),
)
