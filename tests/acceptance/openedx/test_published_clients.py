"""Clients from the package index, unmodified: each step is read back over the API."""

from pathlib import Path

import pytest

from tests.support.openedx_client import (
    CLIENT_SECRET,
    STAFF_CLIENT,
    active,
    email_of,
    inactive,
)
from tests.support.published_clients import (
    CLIENTS,
    MAX_SECONDS,
    ClientProcess,
    environment_python,
)

pytestmark = pytest.mark.timeout(2 * MAX_SECONDS)  # the environments are made once
ENROLLED, CHANGED, ENDED = active("audit"), active("verified"), inactive("verified")


@pytest.fixture(scope="session")
def environments(pytestconfig: pytest.Config) -> Path:
    """A folder for the environments, which is kept between test runs."""
    return Path(pytestconfig.cache.mkdir("published_clients"))


@pytest.mark.parametrize("name", CLIENTS)
def test_a_published_client_goes_through_all_its_steps(edx, environments, name):
    python = environment_python(environments, CLIENTS[name])
    course, user = edx.course("audit", "verified"), edx.learner()
    settings = {"SERVICE_URL": edx.up.url, "CLIENT_ID": STAFF_CLIENT[0]}
    settings["CLIENT_SECRET"] = CLIENT_SECRET
    with ClientProcess(python, CLIENTS[name].script, **settings) as client:
        assert client.do("token") is True

        assert client.do("enroll", user=user, course=course, mode="audit") == [user, *ENROLLED]
        assert edx.state(course, user) == ENROLLED

        assert client.do("read", user=user, course=course) == [user, *ENROLLED]
        assert client.do("list", course=course, users=[user]) == [[user, *ENROLLED]]

        assert client.do("change", user=user, course=course, mode="verified") == [user, *CHANGED]
        assert edx.state(course, user) == CHANGED

        assert client.do("deactivate", user=user, course=course) == [user, *ENDED]
        assert edx.state(course, user) == ENDED

        many_are_enrolled_and_withdrawn(edx, client, course)


def many_are_enrolled_and_withdrawn(edx, client: ClientProcess, course: str) -> None:
    users = [edx.learner() for _ in range(3)]
    addresses = [email_of(user) for user in users]
    for action, state in (("enroll", active("audit")), ("unenroll", inactive("audit"))):
        answer = client.do("bulk", course=course, identifiers=addresses, action=action)
        results = answer["courses"][course]["results"]
        assert [result["identifier"] for result in results] == addresses
        assert {result["after"]["enrollment"] for result in results} == {state.is_active}
        assert {edx.state(course, user) for user in users} == {state}


@pytest.mark.parametrize("name", ["edx-api-client", "openedx-rest-api-client"])
def test_a_client_that_lists_courses_finds_them(edx, environments, name):
    python = environment_python(environments, CLIENTS[name])
    settings = {"SERVICE_URL": edx.up.url, "CLIENT_ID": STAFF_CLIENT[0]}
    settings["CLIENT_SECRET"] = CLIENT_SECRET
    with ClientProcess(python, CLIENTS[name].script, **settings) as client:
        assert client.do("token") is True
        assert client.do("courses", course=edx.course("audit")) is True
