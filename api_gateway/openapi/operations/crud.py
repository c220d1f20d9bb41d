"""Operations shared by several resources: get, put, delete, save many, log of deliveries."""

from typing import NamedTuple

from api_gateway.openapi.model import (
    JSON,
    NDJSON,
    Operation,
    Response,
    Schema,
    array,
    json_content,
    object_with,
    ref,
)
from api_gateway.openapi.operations.lines import ndjson

#: Problem codes of a JSON body.
BODY_PROBLEMS = "malformed_json incomplete_body invalid_body"
#: Problem codes of receiving a body.
TRANSFER_PROBLEMS = "request_timeout too_large unsupported_media_type"


class Resource(NamedTuple):
    """An object that is read, saved and deleted at its own URL."""

    route: str
    #: Part of operation ids, such as `getCourse`.
    name: str
    #: Used in summaries, with its article.
    noun: str
    #: Component names of the request body and of the response.
    body: str
    response: str
    #: Problem codes of an invalid URL and of a missing object.
    bad_url: str
    not_found: str
    #: Descriptions of GET, PUT and DELETE, and the problem codes of conflicts.
    put: str
    get: str = "The state in the database, which no cache delays."
    put_conflict: str = ""
    delete: str = "What was processed before stays as it is."
    delete_conflict: str = ""
    body_required: bool = True
    tail: str | None = None


def get_put_delete(resource: Resource) -> tuple[Operation, Operation, Operation]:
    """Returns the GET, PUT and DELETE operations of a resource."""
    content = json_content(resource.response)
    get = Operation(
        resource.route,
        "GET",
        f"get{resource.name}",
        f"Get {resource.noun}",
        {200: Response("The current state.", content)},
        description=resource.get,
        problems=f"{resource.bad_url} {resource.not_found}",
        tail=resource.tail,
    )
    put = get._replace(
        method="PUT",
        id=f"put{resource.name}",
        summary=f"Create or replace {resource.noun}",
        description=resource.put,
        body=json_content(resource.body),
        body_required=resource.body_required,
        responses={200: Response("Replaced.", content), 201: Response("Created.", content)},
        problems=f"{resource.bad_url} {BODY_PROBLEMS} {TRANSFER_PROBLEMS} {resource.put_conflict}",
    )
    delete = get._replace(
        method="DELETE",
        id=f"delete{resource.name}",
        summary=f"Delete {resource.noun}",
        description=resource.delete,
        responses={204: Response("Deleted.")},
        problems=f"{get.problems} {resource.delete_conflict}",
    )
    return get, put, delete


def save_many(route: str, name: str, *, conflict: str = "") -> Operation:
    """Returns the operation that creates or replaces a list of objects of the schema `name`."""
    return Operation(
        route,
        "POST",
        f"save{name}s",
        f"Create or replace {route}",
        description="All of them or, if one is invalid, none.",
        parameters="Idempotency-Key",
        body=list_of(name, route),
        responses={200: Response("All were saved.", json_content("Saved"), "Idempotency-Replayed")},
        problems=(
            "invalid_body incomplete_body idempotency_key_invalid idempotency_key_reused "
            f"{TRANSFER_PROBLEMS} {conflict}"
        ),
    )


def list_of(name: str, member: str) -> dict[str, Schema]:
    """Returns the content of a list: an array, an object with it, one object, or NDJSON."""
    items = array(ref(name))
    page = object_with(member, items, f"{name}List")
    page["properties"]["next"] = {"description": "Ignored.", "examples": [None]}
    return {
        JSON: {"anyOf": [items, page, ref(name)]},
        NDJSON: ndjson(name),
    }


class Receiver(NamedTuple):
    """A system to which this service sends: a webhook, or a destination."""

    #: Name of the route of one, and part of operation ids.
    route: str
    name: str
    #: The schema of a page of its log, and the operation id of the log.
    deliveries: str
    log: str

    def list_all(self, order: str, description: str) -> Operation:
        """Returns the operation that lists all of them."""
        content = json_content(f"{self.name}s")
        return Operation(
            f"{self.route}s",
            "GET",
            f"list{self.name}s",
            f"List all {self.route}s",
            {200: Response(f"All {self.route}s, {order}.", content)},
            description=description,
        )

    def get(self, description: str) -> Operation:
        """Returns the operation that reads one."""
        return Operation(
            self.route,
            "GET",
            f"get{self.name}",
            f"Get a {self.route}",
            {200: Response("The current state.", json_content(self.name))},
            description=description,
            problems="not_found",
        )

    def delete(self) -> Operation:
        """Returns the operation that deletes one."""
        return Operation(
            self.route,
            "DELETE",
            f"delete{self.name}",
            f"Delete a {self.route}",
            {204: Response("Deleted.")},
            description="Its deliveries are deleted as well; nothing more is sent.",
            problems="not_found",
        )

    def act(self, action: str, summary: str, description: str, response: str) -> Operation:
        """Returns an operation that changes one."""
        return Operation(
            f"{self.route}_{action}",
            "POST",
            f"{action}{self.name}",
            summary,
            {200: Response(response, json_content(self.name))},
            description=description,
            problems="not_found",
        )

    def list_deliveries(self, description: str) -> Operation:
        """Returns the operation that reads the log."""
        return Operation(
            f"{self.route}_deliveries",
            "GET",
            self.log,
            f"List the deliveries of a {self.route}",
            {200: Response("A page, newest first.", json_content(self.deliveries))},
            description=description,
            parameters="delivery_state limit same_as_limit cursor",
            problems="not_found invalid_parameter",
        )
