"""Pages of other origins: who may read, who may not, and what they may send."""

import asyncio

import pytest

from api_gateway.cors import EXPOSED_HEADERS, METHODS, REQUEST_HEADERS, share_with
from api_gateway.openapi.parameters import HEADERS, PARAMETERS
from api_gateway.routes import ROUTES
from tests.support.gateway import AUDIT, fresh

PORTAL, LOCAL = "https://portal.example.org", "http://localhost:3000"
#: Origins that resemble one of the list.
OTHERS = [
    "https://portal.example.org.evil.example",
    "https://evil-portal.example.org",
    "https://portal.example.org:8443",
    "http://portal.example.org",
    "https://PORTAL.example.org",
    "https://portal.example.org/",
    "https://portal.example.org, http://localhost:3000",
    "http://localhost",
    "null",
    "*",
    "",
]
#: Headers of responses that every page may read, or that are not for pages.
SAFE_OR_INTERNAL = {
    "Cache-Control",
    "Content-Encoding",
    "Content-Security-Policy",
    "Pragma",
    "Vary",
    "X-Accel-Buffering",
}


@pytest.fixture
def shared(start):
    return start(cors_origins=f"{PORTAL},{LOCAL}")


def cors_headers(answer):
    return {name: it for name, it in answer.headers.items() if name.startswith("access-control-")}


def preflight(gateway, origin, path="submissions", method="POST"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return gateway.call("OPTIONS", path, headers=asked)


@pytest.mark.parametrize("origin", [PORTAL, LOCAL])
def test_a_page_of_the_list_may_read_answers_and_errors(shared, origin):
    for path, who, status in [
        ("submissions", shared.admin, 200),
        ("submissions", {}, 401),
        ("submissions/x", shared.admin, 404),
        ("/livez", {}, 200),
        ("/nowhere", {}, 404),
    ]:
        answer = shared.get(path, who, headers={"Origin": origin})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-expose-headers"] == ", ".join(EXPOSED_HEADERS)
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", OTHERS)
def test_other_pages_get_no_permission(shared, origin):
    answer = shared.get("submissions", shared.admin, headers={"Origin": origin})
    assert (answer.status_code, cors_headers(answer)) == (200, {})
    assert answer.headers["vary"] == "Origin, Authorization, X-Edx-Api-Key"
    assert cors_headers(preflight(shared, origin)) == {}


def test_an_answer_for_nobody_s_page_depends_on_the_origin_too(shared):
    answer = shared.get("/openapi.json")
    assert "Origin" in answer.headers["vary"]
    assert cors_headers(answer) == {}


@pytest.mark.parametrize("route", ["submissions", "course_details", "openapi", "access_token"])
def test_a_preflight_needs_no_credentials(shared, route):
    path = ROUTES[route].replace("{course_id:path}", "course-v1:Uni+X+1")
    answer = preflight(shared, PORTAL, path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert cors_headers(answer) == {
        "access-control-allow-origin": PORTAL,
        "access-control-allow-methods": ", ".join(METHODS),
        "access-control-allow-headers": ", ".join(REQUEST_HEADERS),
        "access-control-max-age": "600",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Origin" in answer.headers["vary"]


def test_options_that_is_no_preflight_goes_to_the_route(shared):
    answer = shared.call("OPTIONS", "submissions", headers={"Origin": PORTAL})
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert answer.headers["access-control-allow-origin"] == PORTAL


def test_two_origins_are_none():
    headers = [("Origin", PORTAL), ("Origin", LOCAL)]
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(event):
        sent.append(event)

    headers = [(b"origin", PORTAL.encode()), (b"origin", LOCAL.encode())]
    scope = {"type": "http", "method": "GET", "headers": headers}
    asyncio.run(share_with(app, [PORTAL, LOCAL])(scope, None, send))
    assert sent[0]["headers"] == [(b"vary", b"Origin")]


def test_without_a_list_there_is_nothing_of_it(small):
    for answer in (small.get("/livez", headers={"Origin": PORTAL}), preflight(small, PORTAL)):
        assert cors_headers(answer) == {}
        assert "Origin" not in answer.headers.get("vary", "")


def test_a_stream_may_be_read_by_a_page_of_the_list(shared):
    body = f"user,course_id\n{fresh('u')},{shared.course(AUDIT)}\n"
    status = shared.submit(body)
    answer = shared.get(status.json["links"]["events"], shared.admin, headers={"Origin": PORTAL})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["access-control-allow-origin"] == PORTAL


def test_the_lists_of_headers_are_those_of_the_description():
    sent = {name for name, it in PARAMETERS.items() if it["in"] == "header"}
    assert sent <= set(REQUEST_HEADERS)
    assert set(HEADERS) - SAFE_OR_INTERNAL == set(EXPOSED_HEADERS)
