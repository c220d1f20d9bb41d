"""The description of the API: well made, and of all that is served and nothing else."""

import re

import pytest
from falcon.routing import CompiledRouter
from jsonschema import Draft202012Validator

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.openapi import examples
from api_gateway.openapi.document import OPERATIONS
from api_gateway.routes import ROUTES
from tests.support import openapi_document
from tests.support.openapi_document import (
    BASE,
    COURSE_ID,
    SAMPLES,
    at,
    operations,
    parts,
    resolved,
    validator,
)

METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def document():
    return openapi_document.document()


@pytest.fixture(scope="module")
def closed():
    return openapi_document.closed_document()


def test_the_document_says_which_openapi_it_is(document):
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"]
    assert document["info"]["version"]


def test_every_reference_leads_somewhere(document):
    pointers = [part["$ref"] for part in parts(document) if "$ref" in part]

    assert pointers
    assert all(at(document, pointer) for pointer in pointers)


def test_every_component_is_used(document):
    used = {part["$ref"] for part in parts(document) if "$ref" in part}

    assert used == {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "headers")
        for name in document["components"][kind]
    }


def test_operations_have_names_of_their_own_and_only_known_members(document):
    known = {
        "tags",
        "operationId",
        "summary",
        "description",
        "security",
        "parameters",
        "responses",
        "requestBody",
    }
    names = [operation["operationId"] for _, _, operation in operations(document)]
    tags = {tag["name"] for tag in document["tags"]}

    assert len(names) == len(set(names)) == sum(map(len, OPERATIONS.values()))
    for path, method, operation in operations(document):
        assert method in METHODS, path
        assert set(operation) <= known
        assert set(operation["tags"]) <= tags
        assert operation["summary"]


def test_parameters_are_those_of_the_path_and_none_twice(document):
    for path, _, operation in operations(document):
        given = [resolved(document, part) for part in operation["parameters"]]
        places = [(part["in"], part["name"]) for part in given]

        assert len(places) == len(set(places)), path
        assert {name for where, name in places if where == "path"} == set(
            re.findall(r"\{(\w+)\}", path)
        )
        assert all(part["required"] for part in given if part["in"] == "path")


def test_every_answer_says_what_it_means_and_every_error_has_our_shape(document):
    for path, method, operation in operations(document):
        assert operation["responses"], path
        for status, answer in operation["responses"].items():
            assert answer["description"], (path, method, status)
            for media_type, content in answer.get("content", {}).items():
                assert content["schema"], media_type


def test_every_schema_is_one(document):
    for part in parts(document):
        if "schema" in part:
            Draft202012Validator.check_schema(part["schema"])
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_security_says_what_the_policy_needs(document):
    schemes = set(document["components"]["securitySchemes"])
    for path, method, operation in operations(document):
        need = PERMISSIONS[route_of(path), method.upper()]
        ways = operation["security"]

        assert all(set(way) <= schemes for way in ways)
        assert ({} in ways) is need.public
        is_token_route = path == ROUTES["access_token"]  # its 401 is about another credential
        assert ("401" in operation["responses"]) is (not need.public or is_token_route)
        assert ("403" in operation["responses"]) >= (not need.public and not need.anyone)
        assert ({"ApiKey": ["admin"]} in ways) is not (need.public or need.anyone)
        assert ({"JWT": ["staff"]} in ways) is (need.staff and not need.subject)
        assert ({"JWT": []} in ways) is (need.anyone or need.subject)
        for scope in need.scopes:
            assert {"Bearer": [scope]} in ways


def route_of(path):
    """The name of the route that a documented path leads to, as the server finds it."""
    router = CompiledRouter()
    for template in ROUTES.values():
        router.add_route(template, object())
    template = router.find(path.format(**SAMPLES))[3]
    return {template: name for name, template in ROUTES.items()}[template]


def test_all_that_is_served_is_described_and_nothing_else(document):
    described = {(route_of(path), method.upper()) for path, method, _ in operations(document)}

    assert described == set(PERMISSIONS)
    assert {route for route, _ in described} == set(ROUTES)


def words_in(value):
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from words_in(item)


def test_enumerations_have_names_that_generators_can_tell_apart(document):
    lists = [part["enum"] for part in parts(document) if isinstance(part.get("enum"), list)]

    assert len(lists) > 5
    for values in lists:
        names = [re.sub(r"\W", "_", str(value)).casefold() for value in values]
        assert len(names) == len(set(names)), values


def test_no_constant_is_a_boolean_for_which_generators_write_invalid_programs(document):
    constants = [part["const"] for part in parts(document) if "const" in part]

    assert len(constants) > 1
    assert all(isinstance(value, str) for value in constants)


def test_no_example_has_a_placeholder(document):
    shown = [
        part[name] for part in parts(document) for name in ("example", "examples") if name in part
    ]

    assert [text for text in words_in(shown) if re.search(r"\{\w*\}", text)] == []


def test_generators_find_licence_contact_and_servers(document):
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert document["info"]["contact"]["name"]
    assert all(server["url"] and server["description"] for server in document["servers"])


# --- the bodies that are taken ------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (examples.REQUEST_EXAMPLE, True),
        (
            {"user": "ada", "course_id": COURSE_ID, "mode": None, "is_active": None, "extra": [1]},
            True,
        ),
        (
            {"user": "ada", "course_id": COURSE_ID, "cohort": None, "enrollment_attributes": None},
            True,
        ),
        ({"user": "ada"}, False),
        ({"user": 7, "course_id": COURSE_ID}, False),
        ({"user": "ada", "course_id": COURSE_ID, "is_active": "true"}, False),
        ({"user": "ada", "course_id": COURSE_ID, "enrollment_attributes": [{"name": "a"}]}, False),
        ({"user": "ada", "course_id": COURSE_ID, "mode": "x" * 101}, False),
        ([], False),
    ],
)
def test_a_request_is_taken_where_the_document_takes_it(small, document, body, taken):
    described = document["paths"][f"{BASE}/enrollment"]["post"]["requestBody"]
    schema = described["content"]["application/json"]["schema"]

    assert validator(document, schema).is_valid(body) is taken
    assert small.post("enrollment", small.server, json=body).status_code == (202 if taken else 400)


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (examples.NEW_COURSE_EXAMPLE, True),
        (examples.COURSE_EXAMPLE, True),
        ({"course_id": COURSE_ID}, True),
        ({"course_id": COURSE_ID, "capacity": None}, True),
        (
            {
                "course_id": COURSE_ID,
                "course_modes": [{"slug": "audit", "suggested_prices": [10, 20]}],
            },
            True,
        ),
        ({}, False),
        ({"course_id": COURSE_ID, "capacity": -1}, False),
        ({"course_id": COURSE_ID, "capacity": True}, False),
        ({"course_id": COURSE_ID, "cohorts": ["A", "A"]}, False),
        ({"course_id": COURSE_ID, "what": "ever"}, False),
        ({"course_id": COURSE_ID, "course_modes": [{"name": "no slug"}]}, False),
        (
            {
                "course_id": COURSE_ID,
                "course_modes": [{"slug": "audit", "suggested_prices": "ten"}],
            },
            False,
        ),
        ({"course_id": COURSE_ID, "pacing_type": "slow"}, False),
    ],
)
def test_a_course_is_taken_where_the_document_takes_it(small, document, body, taken):
    described = document["paths"][f"{BASE}/courses"]["post"]["requestBody"]
    schema = described["content"]["application/json"]["schema"]

    assert validator(document, schema).is_valid([body]) is taken
    assert small.post("courses", small.admin, json=[body]).status_code == (200 if taken else 400)


def test_the_file_that_is_shown_is_read(small):
    small.post(
        "courses", small.admin, json=[examples.NEW_COURSE_EXAMPLE | {"enrollment_end": None}]
    )

    status = small.submit(examples.FILE_EXAMPLE)

    counts = status.json["counts"]
    assert (counts["total"], counts["refused"], counts["invalid"]) == (2, 0, 0)
