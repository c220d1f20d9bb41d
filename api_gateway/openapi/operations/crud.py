"""Operations that several resources have in common."""

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
    text,
)

BODY_PROBLEMS = "malformed_json incomplete_body invalid_body"
TRANSFER_PROBLEMS = "request_timeout too_large unsupported_media_type"


class Resource(NamedTuple):
    """An object that is read, saved and deleted at its own URL."""

    route: str
    #: In the ids of operations, such as `getCourse`.
    name: str
    #: In summaries, with its article.
    noun: str
    #: The schemas of a request body and of the response.
    body: str
    response: str
    #: Codes for a URL that identifies no object.
    bad_url: str
    not_found: str
    #: Descriptions, and codes of conflicts.
    put: str
    put_conflict: str = ""
    delete: str = ""
    delete_conflict: str = ""
    body_required: bool = True
    tail: str | None = None


def get_put_delete(one: Resource) -> tuple[Operation, Operation, Operation]:
    """The operations of one object."""
    content = json_content(one.response)
    get = Operation(
        one.route,
        "GET",
        f"get{one.name}",
        f"Get {one.noun}",
        {200: Response("The current state.", content)},
        problems=f"{one.bad_url} {one.not_found}",
        tail=one.tail,
    )
    put = get._replace(
        method="PUT",
        id=f"put{one.name}",
        summary=f"Create or replace {one.noun}",
        description=one.put,
        body=json_content(one.body),
        body_required=one.body_required,
        responses={200: Response("Replaced.", content), 201: Response("Created.", content)},
        problems=f"{one.bad_url} {BODY_PROBLEMS} {TRANSFER_PROBLEMS} {one.put_conflict}",
    )
    delete = get._replace(
        method="DELETE",
        id=f"delete{one.name}",
        summary=f"Delete {one.noun}",
        description=one.delete,
        responses={204: Response("Deleted.")},
        problems=f"{get.problems} {one.delete_conflict}",
    )
    return get, put, delete


def save_many(route: str, name: str, *, conflict: str = "") -> Operation:
    """The operation that creates or replaces many objects with the schema `name`."""
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
    """The body of a list: an array, an object that names it, or an object per line."""
    items = array(ref(name))
    return {
        JSON: {"anyOf": [items, object_with(member, items)]},
        NDJSON: text(f"One {name} per line."),
    }
