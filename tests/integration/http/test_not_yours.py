"""What is not yours and what is not there are answered alike: same bytes, same SQL, same rows.

How long the answers take is measured by `python -m bench --only privacy`.
"""

import re

import pytest
from sqlalchemy import Engine

from tests.support.relations.cast import Cast
from tests.support.relations.model import MISSING, OTHER, STAFFED, cases_of
from tests.support.relations.requests import request_for
from tests.support.relations.table import TABLE
from tests.support.statements import recorded_row_counts

PRIVATE = [key for key, rule in TABLE.items() if OTHER in rule.answers]
#: Headers that differ between any two answers.
VOLATILE = {"x-request-id", "date"}
#: Of the lookups of credentials, which are cached for a time.
OF_CREDENTIALS = re.compile("api_key|oauth_client|secret")


@pytest.fixture(scope="module")
def cast(gateway):
    """The callers and their things, on each sort of database."""
    return Cast(gateway)


def hidden_from(key):
    """Each caller from whom something is hidden, with the relations in which it is."""
    found = {}
    for relation in (STAFFED, OTHER, *MISSING):
        if relation in TABLE[key].answers:
            for caller, answer in cases_of(TABLE[key], relation):
                if answer.is_hidden:
                    found.setdefault(caller, []).append(relation)
    return {caller: relations for caller, relations in found.items() if OTHER in relations}


def traces(cast, key, caller, relation):
    """All that an asker could tell answers apart by, of GET also what HEAD is answered."""
    asked = request_for(key, cast, relation, caller)
    for method in (key.method, *(["HEAD"] if key.method == "GET" else [])):
        with recorded_row_counts(Engine) as statements:
            response = cast.gateway.call(method, asked.path, cast.headers[caller], **asked.more)
            sent = [each for each in statements if not OF_CREDENTIALS.search(each[0])]
        headers = {name: text for name, text in response.headers.items() if name not in VOLATILE}
        yield method, response.status_code, headers, response.content, sent


@pytest.mark.parametrize("key", PRIVATE, ids=str)
def test_what_does_not_exist_is_hidden_as_well(key):
    for caller, relations in hidden_from(key).items():
        missing = {relation for relation in MISSING if relation in TABLE[key].answers}
        assert missing <= {*relations}, caller


@pytest.mark.parametrize("key", PRIVATE, ids=str)
def test_nobody_can_tell_not_yours_from_not_there(cast, key):
    for caller, relations in hidden_from(key).items():
        seen = {relation: list(traces(cast, key, caller, relation)) for relation in relations}
        for relation in relations:
            assert seen[relation] == seen[OTHER], (caller, relation)


def test_private_routes_hide_from_somebody():
    assert {key.route for key in PRIVATE if hidden_from(key)} == {
        "enrollment",
        "enrollment_detail",
        "eligibility",
        "accounts",
        "account",
        "learner",
        "v2_enrollment",
        "v2_enrollment_detail",
        "v2_enrollment_legacy",
        "submission",
        "submission_events",
        "submission_outcomes",
        "submission_cancel",
        "crosswalk_missing",
    }
