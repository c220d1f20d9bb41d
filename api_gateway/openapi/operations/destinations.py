"""Operations on destinations."""

from api_gateway.openapi.model import CSV, JSON, Operation, Response, json_content, ref
from api_gateway.openapi.operations.crud import BODY_PROBLEMS, TRANSFER_PROBLEMS, Receiver
from api_gateway.openapi.operations.lines import DIFFERENCES_CSV, csv

_RECEIVER = Receiver("destination", "Destination", "StateDeliveries", "listStateDeliveries")
_ONE = json_content("Destination")


OPERATIONS = (
    _RECEIVER.list_all("by name", "The systems that must end in the same state as this service."),
    _RECEIVER.get("Without its credentials."),
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
    _RECEIVER.delete(),
    _RECEIVER.act(
        "pause",
        "Pause a destination",
        "Nothing is sent until it is resumed; changes are collected, of each enrollment the last.",
        "Paused.",
    ),
    _RECEIVER.act(
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
    _RECEIVER.list_deliveries(
        "Each enrollment that changed once, with its last attempt: status, first bytes of answer."
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
