"""Pages of the console: what they show, to which callers, and how they are served."""

import hashlib
import re
from pathlib import Path

import pytest

import api_gateway.console
from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.console.console import make_console
from api_gateway.console.navigation import CONSOLE_PERMISSIONS
from api_gateway.resource_factory import make_resources
from enrollment.storage import learners
from tests.support.console_browser import Browser, logged_in
from tests.support.gateway import AUDIT, fresh

STATIC = Path(api_gateway.console.__file__).parent / "static"
#: The release in `static`, from the package `htmx.org` of the npm registry (0BSD).
HTMX = ("2.0.11", "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717")
HOSTILE = "<img src=x onerror=alert(1)></script>\u202e\"'&"
PAGES = [
    "/console",
    "/console/upload",
    "/console/submissions",
    "/console/learners",
    "/console/courses",
    "/console/crosswalks",
    "/console/crosswalks/sis",
    "/console/health",
    "/console/webhooks",
    "/console/destinations",
    "/console/keys",
    "/console/keys/clients",
]


def shown(page):
    assert page.status_code == 200, page.text
    return page.text


def test_the_script_is_the_published_one():
    version, digest = HTMX
    script = (STATIC / "htmx.min.js").read_bytes()

    assert hashlib.sha256(script).hexdigest() == digest
    assert f'version:"{version}"'.encode() in script
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE.txt").read_text()


@pytest.mark.parametrize("path", [*PAGES, "/console/login", "/console/nothing"])
def test_a_page_runs_and_loads_what_it_names_with_its_nonce(admin, path):
    page = admin.get(path)
    policy = page.headers["content-security-policy"]
    (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "private, no-store"
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert nonce not in admin.get(path).text
    for tag in re.findall(r"<(?:script|link)[^>]*>", page.text):
        assert f'nonce="{nonce}"' in tag or 'rel="icon"' in tag
        assert re.search(r'(?:src|href)="/console/static/', tag)
    assert not re.search(r"<style|<[^>]+\s(style|on\w+)=|<script[^>]*>[^<]", page.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_landmarks_labels_and_one_heading(admin, path):
    page = shown(admin.get(path))

    assert page.count("<h1") == page.count("<main ") == 1
    assert '<a class="skip" href="#content">' in page
    assert page.count('aria-current="page"') == 1
    names = set(re.findall(r' id="([^"]+)"', page))
    assert len(names) == page.count(' id="')
    for field in re.findall(r"<(?:input|select)[^>]*>", page):
        if 'type="hidden"' not in field:
            name = re.search(r' id="([^"]+)"', field)[1]
            assert f'<label for="{name}"' in page
    assert set(re.findall(r' aria-(?:labelledby|describedby)="([^"]+)"', page)) <= names


@pytest.mark.parametrize("accepted", ["text/html,application/xhtml+xml,*/*;q=0.8", "*/*", "", "x"])
def test_the_root_leads_to_the_console(gateway, accepted):
    html = Browser(gateway).get("/", headers={"Accept": accepted})

    assert (html.status_code, html.headers["location"]) == (303, "/console")


def test_the_api_has_nothing_at_the_root(gateway):
    browser = Browser(gateway)
    missing = browser.get("/", headers={"Accept": "application/json"})

    assert (missing.status_code, missing.json["code"]) == (404, "not_found")
    assert browser.call("POST", "/").headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/console/nope", "/nope", "/api/enrollment/v1/nope"])
def test_an_unknown_address_says_where_the_others_are(gateway, path):
    missing = Browser(gateway).get(path)

    assert missing.status_code == 404
    assert (
        "There is nothing at this address: /docs and /openapi.json list the paths." in missing.text
    )


@pytest.mark.parametrize("name", ["console.css", "console.js", "htmx.min.js", "icon.svg"])
def test_files_are_kept_by_browsers_until_they_change(gateway, name):
    path = f"/console/static/{name}"
    first = gateway.get(path)

    assert first.content == (STATIC / name).read_bytes()
    assert "private" not in first.headers["cache-control"]
    same = gateway.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert same.status_code == 304


def test_every_operation_that_a_page_names_has_a_permission(gateway):
    console = make_console(gateway.parts, make_resources(gateway.parts))

    for page in console.pages:
        for method, operations in page.needs.items():
            assert page.is_public or operations or page.template.endswith("/logout")
            assert set(operations) <= PERMISSIONS.keys() | CONSOLE_PERMISSIONS.keys()
            assert hasattr(page.resource, f"on_{method.lower()}")


@pytest.mark.parametrize(
    "path", ["/console/nothing", "/console/submissions/x", "/console/learners/nobody"]
)
def test_what_is_missing_is_a_page_with_the_status_of_the_api(registrar, path):
    page = registrar.get(path)

    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_the_submission_of_another_caller_is_missing_and_an_admin_sees_it(gateway, registrar):
    status = gateway.submit("user,course_id\nada,x\n", gateway.server).json
    path = f"/console/submissions/{status['submission_id']}"
    admin = logged_in(gateway, gateway.admin)

    assert registrar.get(path).status_code == 404
    assert registrar.get(f"{path}/outcomes.csv").status_code == 404
    registrar.get("/console")
    assert registrar.send(f"{path}/cancel").status_code == 404
    assert registrar.send(f"{path}/apply").status_code == 404
    assert admin.get(path).status_code == 200
    assert status["submission_id"] not in registrar.get("/console/submissions").text


def test_names_of_others_are_shown_as_text(gateway, registrar):
    course_id = gateway.course(AUDIT, name=HOSTILE)
    gateway.submit(
        f'user,course_id\n"{HOSTILE.replace(chr(34), chr(34) * 2)}",{course_id}\n',
        gateway.key("enroll", "read", name="registrar"),
    )
    newest = re.search(r"/console/submissions/[0-9a-f-]{36}", registrar.get("/console").text)[0]
    pages = [newest, f"/console/courses/{course_id.replace('+', '%2B')}"]
    texts = [shown(registrar.get(path)) for path in pages]
    texts.append(registrar.get("/console/learners", query_string="q=%3Cimg%20src%3Dx%3E").text)

    for text in texts:
        assert "<img" not in text
        assert "&lt;img" in text
        assert "</script>" not in text.replace("defer></script>", "")


def test_a_learner_is_found_by_name_and_by_email(gateway, registrar):
    name = gateway.person(email=f"{fresh('mail')}@uni.test")
    course_id = gateway.course(AUDIT)
    gateway.enroll(gateway.server, course_id, name)
    with gateway.sessions.read() as session:
        email = learners.find(session, name).email
    for text in (name, email):
        found = registrar.get("/console/learners", params={"q": text})
        assert (found.status_code, found.headers["location"]) == (303, f"/console/learners/{name}")
    page = shown(registrar.get(f"/console/learners/{name}"))

    assert email in page
    assert course_id in page
    assert "created" in page
    assert "No learner" in shown(registrar.get("/console/learners", params={"q": "nobody at all"}))


def test_a_course_shows_seats_roster_and_invitations_to_those_who_may_read_them(gateway, registrar):
    course_id = gateway.course(AUDIT, capacity=3, invite_only=False)
    name = gateway.person()
    gateway.enroll(gateway.server, course_id, name)
    gateway.call("PUT", f"invitations/{course_id}/guest@uni.test", gateway.server, json={})
    path = f"/console/courses/{course_id.replace('+', '%2B')}"
    page = shown(registrar.get(path))
    of_courses = shown(logged_in(gateway, gateway.key("courses")).get(path))

    assert '<meter min="0" max="3"' in page
    assert name in page
    assert "guest@uni.test" in page
    assert name not in of_courses
    assert "guest@uni.test" not in of_courses
