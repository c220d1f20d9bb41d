"""4h: unenroll/, for learners who leave. A number is that of the conformance table."""

import httpx
import pytest

from tests.support.openedx_client import (
    OpenEdxClient,
    State,
    active,
    as_learner,
    inactive,
    ok,
)


class Leaver:
    """A learner with four active enrollments, in three organisations."""

    def __init__(self, client: OpenEdxClient, *, retiring: bool = True) -> None:
        self.client = client
        self.orgs = [f"{name}{client.word}" for name in ("org", "org", "org2", "org3")]
        self.courses = [client.course("audit", org=org) for org in self.orgs]
        self.user = client.learner(**({"retiring": True} if retiring else {}))
        for course in self.courses:
            client.enrolled(course, self.user)

    def leave(self, **body: object) -> httpx.Response:
        return self.client.post("/unenroll/", self.client.staff(), **body)

    def states(self) -> set[State | None]:
        return {self.client.state(course, self.user) for course in self.courses}


ACTIVE, INACTIVE = {active("audit")}, {inactive("audit")}
NO_REQUEST = "No retirement request status for username."


def test_098_a_learner_who_is_retiring_leaves_all_courses(form):
    leaver = Leaver(form)
    orgs = ok(leaver.leave(username=leaver.user))
    assert sorted(orgs) == sorted(set(leaver.orgs))
    assert leaver.states() == INACTIVE


def test_099_without_a_request_for_retirement_it_is_404(form):
    leaver = Leaver(form, retiring=False)
    refused = leaver.leave(username=leaver.user)
    assert (refused.status_code, refused.json()) == (404, NO_REQUEST)
    assert leaver.states() == ACTIVE


def test_100_a_learner_cannot_ask_for_it(form):
    leaver = Leaver(form)
    refused = form.post("/unenroll/", as_learner(leaver.user), username=leaver.user)
    assert refused.status_code == 403
    assert leaver.states() == ACTIVE


def test_101_without_a_username_it_is_404(form):
    leaver = Leaver(form)
    refused = leaver.leave()
    assert (refused.status_code, refused.json()) == (404, "Username not specified.")
    assert leaver.states() == ACTIVE


@pytest.mark.parametrize(
    "name", [pytest.param("", id="102"), pytest.param("a_made_up_username", id="103")]
)
def test_of_nobody_it_is_404(form, name):
    leaver = Leaver(form)
    refused = leaver.leave(username=name)
    assert (refused.status_code, refused.json()) == (404, NO_REQUEST)
    assert leaver.states() == ACTIVE


def test_104_who_has_left_is_204_without_a_body(form):
    leaver = Leaver(form)
    ok(leaver.leave(username=leaver.user))
    again = leaver.leave(username=leaver.user)
    assert (again.status_code, again.content) == (204, b"")
    assert leaver.states() == INACTIVE
