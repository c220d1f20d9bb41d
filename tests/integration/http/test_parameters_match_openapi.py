"""Parameters of requests: taken where the OpenAPI document takes them, refused where it does not."""

import pytest

from tests.support import openapi_document
from tests.support.openapi_document import BASE, checked, validator

#: The route of the parameters that are not those of outcomes.
PLACES = dict.fromkeys(("page_size", "course_ids", "usernames"), f"{BASE}/enrollments")


@pytest.fixture(scope="module")
def document():
    return openapi_document.document()


@pytest.fixture(scope="module")
def outcomes(small):
    return small.submit("user,course_id\nada,x\n").json["links"]["outcomes"]


@pytest.mark.parametrize(
    ("name", "value", "sent", "taken"),
    [
        ("page_size", "null", "null", True),
        ("page_size", 5000, "5000", True),
        ("course_ids", [], "", False),
        ("course_ids", ["a+b"] * 101, ",".join(["a%2Bb"] * 101), False),
        ("usernames", ["ada", "bob"], "ada,bob", True),
        ("outcome", ["refused"] * 40, ",".join(["refused"] * 40), True),
        ("reason", ["no"], "no", False),
        ("bom", "maybe", "maybe", False),
        ("limit", 0, "0", False),
    ],
)
def test_a_query_is_taken_where_the_document_takes_it(
    small, document, outcomes, name, value, sent, taken
):
    parameter = document["components"]["parameters"][name]

    assert validator(document, parameter["schema"]).is_valid(value) is taken
    query = f"{parameter['name']}={sent}"
    answer = small.get(f"{PLACES.get(name, outcomes)}?{query}", small.admin)
    assert answer.status_code == (200 if taken else 400), answer.text


@pytest.mark.parametrize("value", ["", "two words", "x" * 200, "a-1"])
def test_every_request_id_is_taken(small, document, value):
    parameter = document["components"]["parameters"]["X-Request-ID"]

    assert validator(document, parameter["schema"]).is_valid(value)
    answer = small.get("courses", small.admin, headers={"X-Request-ID": value})
    assert answer.status_code == 200
    assert (answer.headers["x-request-id"] == value) is (value == "a-1")


@pytest.mark.parametrize(("path", "status"), [("enrollment/{},a/b/c", 200), ("learners/{}", 400)])
def test_a_username_has_no_length_in_the_document(small, document, path, status):
    """Who cannot be a learner has no enrollment, as for Open edX; they are no error there."""
    parameter, username = document["components"]["parameters"]["username"], "x" * 256

    assert validator(document, parameter["schema"]).is_valid(username)
    assert small.get(path.format(username), small.admin).status_code == status


@pytest.mark.parametrize("path", ["/livez", f"{BASE}/enrollments", f"{BASE}/submissions"])
def test_a_url_that_is_too_long_is_described_on_every_route(small, path):
    answer = small.get(f"{path}?cursor={'x' * 32_001}", small.admin)

    checked(openapi_document.closed_document(), path, "GET", answer, 431)
