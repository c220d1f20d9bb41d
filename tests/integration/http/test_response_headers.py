"""What every answer says about caching, sniffing and hosts, whatever it is about."""

import pytest
from structlog.testing import capture_logs

from api_gateway.auth.permissions import PERMISSIONS, PUBLIC
from api_gateway.routes import ROUTES
from tests.support.gateway import AUDIT, fresh

SAMPLES = {
    "names:path": "ada,course-v1:a+b+c",
    "course_id:path": "course-v1:a+b+c",
    "rest:path": "course-v1:a+b+c/ada@example.org",
    "id": "0199a207-fe31-7640-9f22-f89d3c74ec80",
    "username": "ada",
    "source": "sis",
}
#: Each route and method, and one that no route serves.
CALLS = [*PERMISSIONS, *((name, "PROPFIND") for name in ROUTES)]
#: Routes that need no credentials; each route is all public or all private.
PUBLIC_ROUTES = {route for (route, _), needed in PERMISSIONS.items() if needed == PUBLIC}


def path_of(route):
    path = ROUTES[route]
    for name, value in SAMPLES.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def test_every_route_is_declared():
    assert {route for route, _ in PERMISSIONS} == set(ROUTES)
    for route in ROUTES:
        declared = {
            needed == PUBLIC for (listed, _), needed in PERMISSIONS.items() if listed == route
        }
        assert len(declared) == 1, f"{route} is public and private"


@pytest.mark.parametrize(("route", "method"), CALLS)
@pytest.mark.parametrize("who", ["admin", "nobody"])
def test_answers_of_a_route_are_kept_by_whom_it_declares(small, route, method, who):
    answer = small.call(method, path_of(route), small.admin if who == "admin" else None)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in answer.headers
    if route in PUBLIC_ROUTES:
        assert "private" not in answer.headers.get("cache-control", "")
        assert "Authorization" not in answer.headers.get("vary", "")
    else:
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["vary"].endswith("Authorization, X-Edx-Api-Key")


def test_what_no_route_serves_is_private(small):
    answer = small.get("/none")

    assert (answer.status_code, answer.headers["cache-control"]) == (404, "private, no-store")


@pytest.mark.parametrize(
    ("seconds", "header"), [("31536000", "max-age=31536000"), ("0", "max-age=0")]
)
def test_https_is_required_where_a_setting_says_so(start, seconds, header):
    gateway = start(hsts_seconds=seconds)

    for path in ("/livez", "enrollment"):
        assert gateway.get(path).headers["strict-transport-security"] == header


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("enroll.example.org", "enrollment", 401),
        ("ENROLL.example.org:8443", "enrollment", 401),
        ("[::1]:8000", "enrollment", 401),
        ("evil.test", "enrollment", 400),
        ("enroll.example.org.evil.test", "enrollment", 400),
        ("evil.test", "/docs", 400),
        ("10.0.0.7:8000", "/livez", 200),
        ("10.0.0.7:8000", "/readyz", 200),
    ],
)
def test_the_service_is_known_under_the_allowed_hosts_only(start, host, path, status):
    gateway = start(allowed_hosts="enroll.example.org, [::1]")

    assert gateway.get(path, host=host).status_code == status


def test_links_name_the_host_of_the_request(small):
    course_id = small.course(AUDIT)
    for _ in range(2):
        small.enroll(small.admin, course_id, fresh("ada"))
    listing = f"enrollments?page_size=1&course_id={course_id.replace('+', '%2B')}"

    found = small.get(listing, small.admin, host="enroll.example.org")

    assert found.json["next"].startswith("http://enroll.example.org/api/")


@pytest.mark.parametrize("name", ["course_id", "course_ids"])
@pytest.mark.parametrize("plus", ["+", "%2B", "%20"])
def test_a_course_key_may_keep_its_plus_in_a_query(small, name, plus):
    course_id, user = small.course(AUDIT), fresh("ada")
    small.enroll(small.admin, course_id, user)

    found = small.get(f"enrollments?{name}={course_id.replace('+', plus)}", small.admin)

    assert [row["user"] for row in found.json["results"]] == [user]


def test_an_upload_may_keep_the_plus_of_its_course(small):
    course_id = small.course(AUDIT)

    done = small.post(
        f"submissions?format=openedx_dashboard&course_id={course_id}",
        small.admin,
        body=(
            "email,username,full name,country,cohort,course mode\n"
            f"ada@example.org,{fresh('ada')},Ada,,,audit\n"
        ),
        headers={"Content-Type": "text/csv"},
    )

    assert done.status_code == 202, done.text


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("TEXT/CSV", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("Application/X-NDJSON;Q=0.9, text/csv;q=0.1", "application/x-ndjson"),
        ("APPLICATION/JSON", "application/json"),
        ("*/*", "application/json"),
        ("nonsense", "application/json"),
    ],
)
def test_media_types_have_no_case(small, accept, kind):
    done = small.submit(f"user,course_id\n{fresh('ada')},{small.course(AUDIT)}\n")

    answer = small.get(done.json["links"]["outcomes"], small.admin, headers={"Accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize("kind", ["Application/JSON", "APPLICATION/JSON; Charset=UTF-8"])
def test_content_types_have_no_case(small, kind):
    body = (
        f'{{"user": "{fresh("ada")}", "course_details": {{"course_id": "{small.course(AUDIT)}"}}}}'
    )

    answer = small.post("enrollment", small.admin, body=body, headers={"Content-Type": kind})

    assert answer.status_code == 202, answer.text


def test_a_failure_is_logged_without_the_name_it_was_about(small, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(small.parts.database, "read", fail)

    admin = small.admin
    with capture_logs() as records:
        answer = small.get("learners/ada.lovelace@example.org", admin)

    assert answer.status_code == 500
    failed = next(record for record in records if record["event"] == "request.failed")
    assert failed["path"].endswith("/learners/{username}")
    assert "lovelace" not in str(records)
