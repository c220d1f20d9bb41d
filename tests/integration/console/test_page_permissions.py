"""Every page and form of the console: which keys may use it, and that only its own forms do."""

import re

import pytest

from api_gateway.auth.authentication import key_caller, token_caller
from api_gateway.auth.jwt_tokens import Claims
from api_gateway.auth.permissions import satisfies
from api_gateway.console.console import make_console
from api_gateway.console.navigation import NAVIGATION, requirement_of
from api_gateway.resource_factory import make_resources
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.credentials.api_keys import ApiKey
from tests.support.console_browser import logged_in
from tests.support.gateway import utc_now

KINDS = [("enroll",), ("read",), ("courses",), ("admin",), ("enroll", "read"), "staff", "learner"]
#: No session is kept by it.
LOGOUT = "/console/logout"
#: Its form is not like the others; `test_uploads` covers it.
UPLOAD = "/console/upload"
NOTHING = "00000000-0000-7000-8000-000000000000"


def pages_of(gateway):
    """Yields the path of each page that needs a session, with nothing behind it, and a method."""
    console = make_console(gateway.parts, make_resources(gateway.parts))
    for page in console.pages:
        if not page.is_public and page.template != LOGOUT:
            path = re.sub(r"\{number:[^}]*\}", "999999", page.template)
            path = re.sub(r"\{(id|webhook|report)\}", NOTHING, path)
            path = re.sub(r"\{delivery\}", "999999", path)
            for method, operations in page.needs.items():
                yield re.sub(r"\{[^}]*\}", "nothing", path), method, operations


def caller_of(kind):
    """Returns the caller of a key with these scopes, or of a token."""
    if isinstance(kind, tuple):
        return key_caller(ApiKey(1, "sis", frozenset(kind), utc_now()))
    return token_caller(Claims(kind, None, kind == "staff", 60.0))


def log_in(gateway, kind):
    if isinstance(kind, tuple):
        return logged_in(gateway, gateway.key(*kind))
    return logged_in(gateway, gateway.learner(kind, staff=kind == "staff"))


def use(browser, method, path):
    if method == "GET":
        return browser.get(path)
    if path == UPLOAD:
        return browser.upload("no file of enrollments")
    browser.get("/console")
    return browser.send(path)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_page_is_refused_to_those_who_may_not_use_its_operations(gateway, kind):
    browser, caller = log_in(gateway, kind), caller_of(kind)

    for path, method, operations in pages_of(gateway):
        may = all(satisfies(caller, requirement_of(operation)) for operation in operations)
        status = use(browser, method, path).status_code
        assert (status != 403) is may, (path, method, status)
        assert status < 500, (path, method, status)
    links = set(re.findall(r'href="(/console[^"]*)"', browser.get("/console").text))
    assert {entry.path for entry in NAVIGATION} & links == {
        entry.path for entry in NAVIGATION if satisfies(caller, requirement_of(entry.operation))
    }


def test_a_learner_finds_no_other_learners(gateway):
    browser = log_in(gateway, "learner")
    links = re.findall(r'href="(/console[^"]*)"', browser.get("/console").text)
    assert "/console/learners" not in links
    assert browser.get("/console/learners").status_code == 403
    with gateway.sessions.begin() as session:
        learners.save(session, Learner("hidden-name", "hidden@example.org"))
    assert "hidden-name" not in browser.get("/console/rows?user=hidden@example.org").text


def test_no_form_is_read_without_its_token_or_from_another_site(gateway):
    browser = logged_in(gateway, gateway.admin)

    for path, method, _ in pages_of(gateway):
        if method == "POST" and path != UPLOAD:
            browser.form_token = "another"
            assert browser.send(path).status_code == 403, path
            browser.get("/console")
            foreign = browser.send(path, headers={"Sec-Fetch-Site": "cross-site"})
            assert foreign.status_code == 403, path
