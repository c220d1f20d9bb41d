"""The description of the API is complete: each operation, parameter and body says all of itself."""

import json
import re
from collections import defaultdict

import pytest

from api_gateway.openapi.example_values import FILLER
from tests.support import openapi_document
from tests.support.openapi_document import operations, parts, resolved, validator

#: Bodies of these have neither a type nor an example that text could show.
BINARY = {"application/zip"}


@pytest.fixture(scope="module")
def document():
    return openapi_document.document()


@pytest.fixture(scope="module")
def closed():
    return openapi_document.closed_document()


def bodies(document):
    """(where, media type, content) of all requests and responses."""
    for _, _, operation in operations(document):
        name = operation["operationId"]
        yield from contents(f"{name} request", operation.get("requestBody", {}))
        for status, response in operation["responses"].items():
            yield from contents(f"{name} {status}", response)


def contents(where, body):
    for media_type, content in body.get("content", {}).items():
        yield where, media_type, content


def examples_of(document, content):
    if "example" in content:
        return [content["example"]]
    return resolved(document, content["schema"]).get("examples", [])


def test_every_operation_says_what_it_does(document):
    for path, method, operation in operations(document):
        assert re.fullmatch(r"[a-z]\w+", operation["operationId"]), (path, method)
        assert len(operation["tags"]) == 1
        assert operation["summary"], (path, method)
        assert operation["description"].strip().endswith("."), (path, method)
        assert operation["security"], (path, method)


def test_every_response_has_a_body_with_an_example_or_says_that_it_is_empty(document):
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            is_empty = status in {"204", "304"} or "The body is empty." in response["description"]
            assert is_empty is not bool(response.get("content")), (path, method, status)
    for where, media_type, content in bodies(document):
        assert media_type in BINARY or any(examples_of(document, content)), (where, media_type)


def test_every_example_keeps_to_its_schema(closed):
    shown = 0
    for where, _, content in bodies(closed):
        for example in examples_of(closed, content):
            errors = list(validator(closed, content["schema"]).iter_errors(example))
            assert errors == [], where
            shown += 1
    for name, schema in closed["components"]["schemas"].items():
        assert "properties" not in schema or schema["examples"], name
        for example in schema.get("examples", ()):
            errors = list(
                validator(closed, {"$ref": f"#/components/schemas/{name}"}).iter_errors(example)
            )
            assert errors == [], name
            shown += 1

    assert shown > 300


def test_every_parameter_has_a_description_and_an_example(document):
    for name, parameter in document["components"]["parameters"].items():
        assert parameter["description"].endswith((".", ")")), name
        assert validator(document, parameter["schema"]).is_valid(parameter["example"]), name


def test_no_example_is_a_filler(document):
    for name, parameter in document["components"]["parameters"].items():
        assert parameter["example"] != FILLER, f"{name} needs an example of its own"
    for name, schema in document["components"]["schemas"].items():
        assert FILLER not in str(schema.get("examples", "")), f"{name} needs an example of its own"
    for where, media_type, content in bodies(document):
        assert FILLER not in str(content.get("example", "")), (where, media_type)


def test_every_object_is_a_named_component(document):
    """Generators name the others by themselves, and make a type for each place."""
    named = {id(schema) for schema in document["components"]["schemas"].values()}
    unnamed = [
        part
        for part in parts(document)
        if isinstance(part.get("properties"), dict)
        and "$ref" not in part
        and part.get("type") == "object"
        and id(part) not in named
    ]

    assert unnamed == []


def test_no_two_components_are_equal(document):
    names = defaultdict(list)
    for name, schema in document["components"]["schemas"].items():
        bare = {
            key: value for key, value in schema.items() if key not in {"description", "examples"}
        }
        names[json.dumps(bare, sort_keys=True)].append(name)

    assert [equal for equal in names.values() if len(equal) > 1] == []


def test_names_of_components_differ_in_more_than_case(document):
    names = [name.casefold() for name in document["components"]["schemas"]]

    assert len(names) == len(set(names))


def test_no_body_of_several_kinds_can_be_an_array(document):
    """A generated Python client asks each body `isinstance`, which does not take `list[…]`."""
    for where, media_type, content in bodies(document):
        if where.endswith("request") and media_type == "application/json":
            operation = where.removesuffix(" request")
            others = [
                other
                for place, other, _ in bodies(document)
                if place == where
                and other in {"multipart/form-data", "application/x-www-form-urlencoded"}
            ]
            arrays = [part for part in content["schema"].get("anyOf", ()) if "items" in part]
            assert not (others and arrays), operation


def test_json_and_forms_are_of_types_that_clients_tell_apart(document):
    """A generated Python client sends a body as each media type whose type it has."""
    forms = {"multipart/form-data", "application/x-www-form-urlencoded"}
    found = 0
    for _, _, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            json_schema = content["application/json"]["schema"]
            for media_type in forms & set(content):
                assert content[media_type]["schema"] != json_schema, operation["operationId"]
                found += 1

    assert found >= 3


def test_no_member_of_a_body_has_a_default_that_clients_would_send(document):
    """A client that sends all defaults to PATCH would reset what it does not name."""
    schemas = document["components"]["schemas"]

    assert [part for part in parts(schemas) if "default" in part and "type" in part] == []
    assert (
        "Default: true." in schemas["EnrollmentRequest"]["properties"]["is_active"]["description"]
    )


def test_equal_errors_are_of_one_type(document):
    for where, _, content in bodies(document):
        if where[-3:] >= "400" and where[-3:].isdigit() and content["schema"].get("$ref"):
            name = content["schema"]["$ref"].rpartition("/")[2]
            if name == "Problem":
                assert content["schema"]["properties"]["code"]["enum"], where


def test_all_ways_to_authenticate_are_described(document):
    schemes = document["components"]["securitySchemes"]

    assert set(schemes) == {"ApiKey", "Bearer", "JWT", "OAuth2"}
    assert schemes["OAuth2"]["flows"]["clientCredentials"]["tokenUrl"] == "/oauth2/access_token"
    assert all(scheme["description"] for scheme in schemes.values())


def test_the_first_server_is_the_one_that_serves_the_document(document):
    assert document["servers"][0]["url"] == "/"
