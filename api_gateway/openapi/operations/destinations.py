"""Operations on destinations."""

from api_gateway.openapi.model import CSV, JSON, Operation, Response, json_content, ref
from api_gateway.openapi.operations.crud import BODY_PROBLEMS, TRANSFER_PROBLEMS
from api_gateway.openapi.operations.lines import DIFFERENCES_CSV, csv

_ONE = json_content("Destination")


def _action(name: str, summary: str, description: str, response: str) -> Operation:
    return Operation(
        f"destination_{name}",
        "POST",
        f"{name}Destination",
        summary,
        {200: Response(response, _ONE)},
        description=description,
        problems="not_found",
    )


OPERATIONS = (
    Operation(
        "destinations",
        "GET",
        "listDestinations",
        "List all destinations",
        {200: Response("All destinations, by name.", json_content("Destinations"))},
        description="The systems that must end in the same state as this service.",
    ),
    Operation(
        "destination",
        "GET",
        "getDestination",
        "Get a destination",
        {200: Response("The current state.", _ONE)},
        description="Without its credentials.",
        problems="not_found",
    ),
    Operation(
        "destination",
        "PUT",
        "putDestination",
        "Add or replace a destination",
        {200: Response("Replaced.", _ONE), 201: Response("Added.", _ONE)},
        description=(
            "Each enrollment that changes from now on is applied there, in its last state. Members "
            "that are not given get their defaults; without `auth` the stored credentials stay, "
            "unless the host changes (400). "
            "The URL must be https and of a public server."
        ),
        body=json_content("NewDestination"),
        problems=f"{BODY_PROBLEMS} {TRANSFER_PROBLEMS}",
    ),
    Operation(
        "destination",
        "DELETE",
        "deleteDestination",
        "Delete a destination",
        {204: Response("Deleted.")},
        description="Its deliveries are deleted as well; nothing more is sent.",
        problems="not_found",
    ),
    _action(
        "pause",
        "Pause a destination",
        "Nothing is sent until it is resumed; changes are collected, of each enrollment the last.",
        "Paused.",
    ),
    _action(
        "resume",
        "Resume a destination",
        "What waits is sent at once, also if the destination rested after failures.",
        "Resumed.",
    ),
    Operation(
        "destination_retry",
        "POST",
        "retryDestination",
        "Send again every state that failed",
        {202: Response("The number of enrollments.", json_content("Queued"))},
        description="The states are sent at once, as they are then. Attempts are counted anew.",
        problems="not_found",
    ),
    Operation(
        "destination_deliveries",
        "GET",
        "listStateDeliveries",
        "List the deliveries of a destination",
        {200: Response("A page, newest first.", json_content("StateDeliveries"))},
        description=(
            "Each enrollment that changed once, with its last attempt: status, first bytes of the "
            "answer."
        ),
        parameters="delivery_state limit same_as_limit cursor",
        problems="not_found invalid_parameter",
    ),
    Operation(
        "destination_delivery_retry",
        "POST",
        "retryStateDelivery",
        "Send the state of an enrollment again",
        {202: Response("It is sent at once, as it is then.", json_content("StateDelivery"))},
        description="The attempts are counted anew.",
        problems="not_found",
    ),
)


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


REPORT_OPERATIONS = (
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
        description="A purge keeps the newest 50 reports of a destination.",
        parameters="limit same_as_limit cursor",
        problems="not_found invalid_parameter",
        problem_headers="Vary",
    ),
)
