"""Every route and method, every caller, every relation: generated from the table of relations."""

from collections.abc import Iterator
from typing import Any

import pytest

from api_gateway.routes import V1, ROUTES
from tests.support.relations.cast import Cast
from tests.support.relations.model import OTHER, OWN, STAFFED, Answer, Key, cases_of
from tests.support.relations.requests import request_for
from tests.support.relations.table import TABLE

QUESTIONS = [(key, relation) for key, rule in TABLE.items() for relation in rule.answers]


@pytest.fixture(scope="module")
def cast(gateway):
    """The callers and their things, on each sort of database."""
    return Cast(gateway)


def relations_in(cast: Cast, body: Any, caller: str) -> Iterator[str]:
    """The relations to the caller of what is listed."""
    items = body if isinstance(body, list) else next(v for v in body.values() if isinstance(v, list))
    relations = {cast.own: OWN, cast.taught: STAFFED, cast.elsewhere: OTHER}
    for item in items:
        if "submission_id" in item:
            yield OWN if item["caller"] == cast.name_of(caller) else OTHER
        else:
            yield relations[item.get("course_id") or item["course_details"]["course_id"]]


def answer_of(cast: Cast, key: Key, response: Any, caller: str, expected: Answer) -> Answer:
    """What a response says, as the table does."""
    is_empty = response.content == b"" and "content-type" not in response.headers
    is_json = "json" in response.headers.get("content-type", "")
    body = response.json if is_json and response.content else None
    code = body.get("code", "") if response.status_code >= 400 and isinstance(body, dict) else ""
    rows = None
    if expected.rows is not None and response.status_code == 200:
        rows = frozenset(relations_in(cast, body, caller))
    return Answer(response.status_code, code, rows, is_empty)


@pytest.mark.parametrize(("key", "relation"), QUESTIONS, ids=map("-".join, ((str(k), r) for k, r in QUESTIONS)))
def test_each_caller_is_answered_as_the_table_says(cast, key, relation):
    expected, actual = {}, {}
    for caller, answer in cases_of(TABLE[key], relation):
        asked = request_for(key, cast, relation, caller)
        response = cast.gateway.call(key.method, asked.path, cast.headers[caller], **asked.more)
        expected[caller] = answer
        actual[caller] = answer_of(cast, key, response, caller, answer)
    assert actual == expected
