"""Every route and method, every caller, every relation: generated from the table of relations.

A route that is missing there, or a caller, fails a test of tests/unit/test_permissions.py.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.relations.callers import STAFFS, SUBJECTS
from tests.support.relations.cast import Cast
from tests.support.relations.model import OTHER, OWN, STAFFED, Answer, cases_of
from tests.support.relations.requests import request_for
from tests.support.relations.table import TABLE

QUESTIONS = [
    pytest.param(key, relation, id=f"{key}-{relation}")
    for key, rule in TABLE.items()
    for relation in rule.answers
]


@pytest.fixture(scope="module")
def cast(gateway):
    """The callers and their things, on each sort of database."""
    return Cast(gateway)


def ask(cast, key, relation, caller):
    """Sends the request, of GET also as HEAD, which must say the same without a body."""
    asked = request_for(key, cast, relation, caller)
    response = cast.gateway.call(key.method, asked.path, cast.headers[caller], **asked.more)
    if key.method == "GET":
        head = cast.gateway.call("HEAD", asked.path, cast.headers[caller], **asked.more)
        assert (head.status_code, head.content) == (response.status_code, b"")
    return response


def body_of(response: Any) -> Any:
    """The JSON of a response; None without any."""
    is_json = "json" in response.headers.get("content-type", "")
    return response.json if is_json and response.content else None


def relations_in(cast: Cast, body: Any, caller: str) -> Iterator[str]:
    """The relations to the caller of what is listed."""
    lists = [body] if isinstance(body, list) else body.values()
    relations = {cast.own: OWN, cast.taught: STAFFED, cast.elsewhere: OTHER}
    for item in next(value for value in lists if isinstance(value, list)):
        if "submission_id" in item:
            yield OWN if item["caller"] == cast.name_of(caller) else OTHER
        else:
            yield relations[item.get("course_id") or item["course_details"]["course_id"]]


def answer_of(cast: Cast, response: Any, caller: str, expected: Answer) -> Answer:
    """What a response says, as the table does."""
    body, status = body_of(response), response.status_code
    code = body.get("code", "") if status >= 400 and isinstance(body, dict) else ""
    rows = None
    if expected.rows is not None and status == 200:
        rows = frozenset(relations_in(cast, body, caller))
    is_empty = response.content == b"" and "content-type" not in response.headers
    return Answer(status, code, rows, is_empty)


@pytest.mark.parametrize(("key", "relation"), QUESTIONS)
def test_each_caller_is_answered_as_the_table_says(cast, key, relation):
    expected, actual, members = {}, {}, {}
    for caller, answer in cases_of(TABLE[key], relation):
        response = ask(cast, key, relation, caller)
        expected[caller] = answer
        actual[caller] = answer_of(cast, response, caller, answer)
        body = body_of(response)
        if caller in TABLE[key].passes and isinstance(body, dict):
            members.setdefault(answer, set()).add(frozenset(body))

    assert actual == expected
    # Of one and the same answer no member is for some callers alone.
    assert all(len(sets) == 1 for sets in members.values()), members


def test_roles_say_who_is_staff_of_the_site(cast):
    for caller in sorted(SUBJECTS):
        answer = cast.gateway.get("roles", cast.headers[caller])
        assert answer.json["is_staff"] is (caller in STAFFS), caller
