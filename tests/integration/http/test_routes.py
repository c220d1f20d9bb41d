"""What every route has in common: methods, errors, ids, and standing up without its neighbours."""

import asyncio

import pytest
from sqlalchemy import text, update

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.http.header_limits import limit_headers
from api_gateway.routes import ROUTES
from enrollment.runtime import failpoints
from enrollment.storage.tables import BatchRow, MaintenanceRow
from tests.support.gateway import AUDIT, Gateway, ago, fresh
from tests.support.servers import free_port

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
SAMPLES = {
    "names": "ann,a/b/c",
    "course_id": "course-v1:No+Such+One",
    "id": "01900000-0000-7000-8000-000000000000",
    "username": "nobody",
    "rest": "a/b/c/ann@example.org",
    "source": "canvas",
    "destination": "none",
    "report": "01900000-0000-7000-8000-000000000000",
    "webhook": "01900000-0000-7000-8000-000000000000",
    "delivery": "1",
}
OFFERED = {route: {method for known, method in PERMISSIONS if known == route} for route in ROUTES}


def path_of(route):
    return ROUTES[route].replace(":path", "").format(**SAMPLES)


def may(route):
    methods = OFFERED[route]
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_a_method_that_a_route_does_not_have_is_405_and_says_which_it_has(small, route):
    for method in METHODS:
        if method in may(route):
            continue
        for who in (small.admin, {}):
            answer = small.call(method, path_of(route), who)
            assert answer.status_code == 405, method
            assert set(answer.headers["allow"].split(", ")) == may(route)
            if method != "HEAD":
                assert answer.json["message"] == f'Method "{method}" not allowed.'


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_options_say_what_may_be_asked_to_anybody(small, route):
    answer = small.call("OPTIONS", path_of(route))
    assert answer.status_code == 200
    assert set(answer.headers["allow"].split(", ")) == may(route)
    assert answer.content == b""


@pytest.mark.parametrize(
    "route", sorted(route for route, methods in OFFERED.items() if "GET" in methods)
)
def test_head_is_get_without_a_body(small, route):
    got = small.get(path_of(route), small.admin)
    head = small.call("HEAD", path_of(route), small.admin)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers.get("content-type") == got.headers.get("content-type")
    assert head.headers.get("etag") == got.headers.get("etag")
    if not PERMISSIONS[route, "GET"].public:
        assert small.call("HEAD", path_of(route)).status_code == 401


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_every_route_takes_its_path_with_a_slash_and_never_redirects(small, route):
    for method in sorted(OFFERED[route]):
        plain = small.call(method, path_of(route), small.admin)
        slashed = small.call(method, path_of(route) + "/", small.admin)
        assert plain.status_code // 100 == slashed.status_code // 100 != 3, method


NOWHERE = [
    "/nothing",
    "/api",
    "/api/enrollment/v1",
    "/api/enrollment/v1/nothing",
    "/api/enrollment/v2",
    "/api/enrollment/v3/enrollment",
    "/livez/x",
    "/%00",
    "/..%2f..%2fetc/passwd",
]


@pytest.mark.parametrize("path", NOWHERE)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_that_leads_nowhere_is_404_in_our_shape(small, path, method):
    answer = small.call(method, path, small.admin)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "message"} <= set(answer.json)
    assert answer.json["code"] == "not_found"
    assert "/openapi.json" in answer.json["detail"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("given", ["abc", "A.b:c/d+e=f-1", "x" * 128])
def test_an_id_that_a_request_has_is_kept(small, given):
    for path in ("/livez", "/nothing", "enrollment"):
        assert small.get(path, headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "ä", "<script>", "a,b"])
def test_an_id_that_may_not_be_kept_is_replaced(small, given):
    made = [
        small.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"]
        for _ in range(2)
    ]
    assert given not in made
    assert made[0] != made[1]


@pytest.mark.parametrize("host", ["a b", "a/b", "a.example?x", "a,b", "<x>", "a@b", "ä"])
@pytest.mark.parametrize("path", ["/livez", "/nothing", "enrollments"])
def test_a_host_that_is_none_is_400(small, host, path):
    answer = small.get(path, small.admin, host=host)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["a.example", "a.example:8000", "127.0.0.1", "[::1]:80", "a_b-c"])
def test_a_host_that_is_one_is_taken(small, host):
    assert small.get("/livez", host=host).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({f"X-{n}": "x" for n in range(90)}, 200),
        ({f"X-{n}": "x" for n in range(101)}, 431),
        ({"X-Long": "x" * 31_000}, 200),
        ({"X-Long": "x" * 32_001}, 431),
        ({f"X-{n}": "x" * 1_000 for n in range(32)}, 431),
    ],
)
def test_a_head_that_is_too_large_is_431(small, headers, status):
    answer = small.get("/livez", headers=headers)
    assert answer.status_code == status
    if status == 431:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["code"] == "headers_too_large"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(("version", "status"), [("1.0", 200), ("1.1", 400), ("2", 400)])
def test_who_names_no_host_is_400_where_the_protocol_asks_for_one(version, status):
    async def served(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent = []

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "http_version": version, "headers": iter([(b"x-other", b"1")])}
    asyncio.run(limit_headers(served)(scope, None, send))
    assert sent[0]["status"] == status


def test_a_fault_of_ours_is_500_with_an_id_and_no_internals(small, capsys):
    body = {"user": fresh("ann"), "course_id": small.course(AUDIT)}
    place = small.post("enrollment", small.admin, json=body).headers["location"]
    small.work()
    with small.sessions.begin() as session:
        session.execute(update(BatchRow).values(outcomes=b"?damaged"))
    answer = small.get(place, small.admin, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json["code"], answer.headers["x-request-id"]) == ("internal_error", "mine")
    assert answer.json["correlation_id"] in answer.json["detail"]
    assert "packed" not in answer.text
    assert answer.json["correlation_id"] in capsys.readouterr().out


def test_a_route_that_the_policy_lacks_is_served_to_nobody(small, monkeypatch):
    left = {key: need for key, need in PERMISSIONS.items() if key != ("livez", "GET")}
    monkeypatch.setattr("api_gateway.auth.middleware.PERMISSIONS", left)
    for method in ("GET", "HEAD"):
        assert small.call(method, "/livez").status_code == 500
        assert small.call(method, "/livez", small.admin).status_code == 500
    assert small.call("POST", "/livez").status_code == 405


# --- neighbours ---------------------------------------------------------------------------


@pytest.fixture
def cut_off():
    """A gateway whose database nobody answers for."""
    made = Gateway(f"postgresql+psycopg://nobody:hidden-word@127.0.0.1:{free_port()}/nothing")
    yield made
    made.close()


def test_without_its_database_a_gateway_says_so_and_when_to_come_back(cut_off):
    body = {"user": "ann", "course_id": "a/b/c"}
    csv = {"Content-Type": "text/csv"}
    calls = [
        ("POST", "enrollment", {"json": body}),
        ("POST", "enrollment", {"json": body, "headers": {"Prefer": "wait=5"}}),
        ("POST", "submissions", {"body": "user,course_id\nann,a/b/c", "headers": csv}),
        ("GET", "submissions", {}),
        ("GET", "enrollment?user=ann", {}),
        ("GET", "enrollment/ann,a/b/c", {}),
        ("GET", "enrollments", {}),
        ("GET", "changes", {}),
        ("GET", "course/a/b/c", {}),
        ("GET", "courses", {}),
        ("PUT", "courses/a/b/c", {"json": {}}),
    ]
    for method, path, more in calls:
        answer = cut_off.call(method, path, cut_off.edx, **more)
        assert answer.status_code == 503, (path, answer.text)
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json["code"] == "unavailable"
        for internal in ("hidden-word", "psycopg", "127.0.0.1", "nobody"):
            assert internal not in answer.text


def test_without_its_database_a_gateway_lives_but_is_not_ready(cut_off):
    assert cut_off.get("/livez").json == {"status": "ok"}
    ready = cut_off.get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (503, "unready")
    assert ready.json["findings"]
    assert int(ready.headers["retry-after"]) >= 1


def test_with_a_database_that_lacks_its_tables_a_gateway_is_not_ready(tmp_path):
    gateway = Gateway(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    ready = gateway.get("/readyz")
    gateway.close()
    assert (ready.status_code, ready.json["status"]) == (503, "unready")
    assert "migrations" in ready.json["findings"][0]


def test_with_a_database_that_is_damaged_a_gateway_is_not_ready(start):
    gateway = start()
    with gateway.sessions.begin() as session:
        session.execute(text("DROP TABLE batch"))
    ready = gateway.get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (503, "unready")
    assert int(ready.headers["retry-after"]) >= 1


def test_without_redis_a_gateway_is_ready_and_says_what_is_missing(alone):
    ready = alone.get("/readyz")
    assert ready.status_code == 200
    assert (ready.json["status"], ready.json["database"], ready.json["redis"]) == (
        "degraded",
        "ok",
        "away",
    )
    assert any("Redis" in finding for finding in ready.json["findings"])
    assert ready.json["parked_batches"] == 0


def test_a_queue_that_is_not_the_redis_is_looked_for_by_itself(start, redis_url):
    away = start(redis_url=redis_url, broker_url="amqp://127.0.0.1:1//").get("/readyz")
    assert (away.status_code, away.json["status"]) == (200, "degraded")
    assert (away.json["redis"], away.json["queue"]) == ("ok", "away")
    assert [it for it in away.json["findings"] if it.startswith("the queue is not reachable")]


@pytest.mark.parametrize(("hours", "status"), [(23, "ok"), (25, "degraded")])
def test_a_purge_that_did_not_end_for_a_day_is_named(start, redis_url, hours, status):
    gateway = start(redis_url=redis_url)
    with gateway.sessions.begin() as session:
        session.execute(update(MaintenanceRow).values(ended_at=ago(hours=hours)))
    ready = gateway.get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (200, status)
    assert ["purged" in it for it in ready.json["findings"]] == [True] * (status != "ok")


def test_with_redis_nothing_is_missing(start, redis_url):
    gateway = start(redis_url=redis_url)
    assert gateway.get("/readyz").json["status"] == "ok"


def test_a_process_that_injects_faults_says_so(start, redis_url):
    gateway = start(redis_url=redis_url)
    failpoints.arm("ring.sent=raise@nobody")
    try:
        armed = gateway.get("/readyz")
    finally:
        failpoints.arm("")

    assert (armed.status_code, armed.json["status"]) == (200, "degraded")
    assert [it for it in armed.json["findings"] if it.startswith("ENROLL_FAILPOINTS is set")]
    assert gateway.get("/readyz").json["status"] == "ok"
    course_id = gateway.course(AUDIT)
    answer = gateway.enroll(gateway.server, course_id, fresh("ann"))
    assert answer.status_code == 200
    assert [gateway.get(f"course/{course_id}").json["course_id"] for _ in range(2)] == [
        course_id
    ] * 2


# --- two gateways -------------------------------------------------------------------------


@pytest.mark.parametrize("redis", ["there", "away"])
def test_when_a_change_of_a_course_is_answered_no_gateway_serves_the_old_one(
    database_url, request, redis
):
    more = {"redis_url": request.getfixturevalue("redis_url")} if redis == "there" else {}
    one, two = Gateway(database_url, **more), Gateway(database_url, **more)
    try:
        course_id = one.course(AUDIT, name="Old")
        path = f"course/{course_id}"
        seen = [gateway.get(path) for gateway in (one, two, one, two)]
        assert {answer.json["course_name"] for answer in seen} == {"Old"}
        for number, writer in enumerate((one, two, one)):
            name = f"New {number}"
            put = writer.call("PUT", f"courses/{course_id}", one.admin, json={"course_name": name})
            assert put.status_code == 200
            for gateway in (two, one):
                answer = gateway.get(path, headers={"If-None-Match": seen[0].headers["etag"]})
                assert (answer.status_code, answer.json["course_name"]) == (200, name)
    finally:
        one.close()
        two.close()


def test_what_one_gateway_took_in_another_waits_for(database_url):
    one, two = Gateway(database_url), Gateway(database_url)
    try:
        body = {"user": "ann", "course_id": one.course(AUDIT)}
        keyed = {"Idempotency-Key": "same everywhere"}
        place = one.post("enrollment", one.admin, json=body, headers=keyed).headers["location"]
        with two.asking("GET", place, one.admin, headers={"Prefer": "wait=20"}) as future:
            one.work()
        assert future.result().json["state"] == "done"
        again = two.post("enrollment", one.admin, json=body, headers=keyed)
        assert again.headers["location"] == place
    finally:
        one.close()
        two.close()
