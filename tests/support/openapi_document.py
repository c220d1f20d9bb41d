"""Walks the OpenAPI document, and validates responses against it."""

import copy
import json

from jsonschema import Draft202012Validator

from api_gateway.openapi.document import build
from api_gateway.routes import ROUTES, V1

BASE = "/api/enrollment/v1"
COURSE_ID = "course-v1:Uni+ALG+2026"
#: Headers that HTTP itself or every page explains.
PLAIN_HEADERS = {
    "content-type",
    "content-length",
    "allow",
    "connection",
    "x-content-type-options",
    "referrer-policy",
}
#: A value for each path variable.
SAMPLES = {
    "course_id": COURSE_ID,
    "username": "ada",
    "email": "ada@example.org",
    "id": "01900000-0000-7000-8000-000000000000",
    "source": "canvas",
    "report": "01900000-0000-7000-8000-000000000000",
    "webhook": "01900000-0000-7000-8000-000000000000",
    "destination": "lms",
    "delivery": "1",
}


def document():
    return build(ROUTES, V1)


def closed_document():
    """Returns the document with `additionalProperties: false` wherever nothing else is described."""
    made = copy.deepcopy(document())
    for part in parts(made):
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
    return made


def parts(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolved(document, part):
    while "$ref" in part:
        part = at(document, part["$ref"])
    return part


def at(document, pointer):
    for step in pointer.removeprefix("#/").split("/"):
        document = document[step]
    return document


def validator(document, schema):
    """Returns schemas as JSON Schema 2020-12, the dialect of OpenAPI 3.1."""
    return Draft202012Validator({**schema, "components": document["components"]})


def checked(closed, path, method, answer, status):
    """Returns the response if the document describes it."""
    responses = closed["paths"][path][method.lower()]["responses"]
    assert status == answer.status_code, answer.text
    assert str(answer.status_code) in responses, answer.text
    known = responses[str(answer.status_code)]
    names = {name.lower() for name in known.get("headers", {})} | PLAIN_HEADERS
    assert set(answer.headers) <= names
    if not answer.content:
        return answer
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = known["content"][media_type]["schema"]
    if media_type in {"application/json", "application/problem+json"}:
        validator(closed, schema).validate(answer.json)
    if media_type == "text/event-stream":
        for event in _events(answer.text):
            validator(closed, schema).validate(event)
            validator(closed, {"$ref": "#/components/schemas/Submission"}).validate(
                json.loads(event["data"])
            )
    if media_type == "application/x-ndjson":
        for line in answer.text.splitlines():
            validator(closed, {"$ref": "#/components/schemas/Outcome"}).validate(json.loads(line))
    return answer


def _events(text):
    """Yields the events of a stream, without its comments."""
    for block in filter(None, text.split("\n\n")):
        event = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if event:
            yield event | {"retry": int(event["retry"])}
