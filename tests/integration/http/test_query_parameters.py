"""Query parameters: unknown ones are refused with the nearest name, on every route of ours."""

import pytest

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.http.query_parameters import nearest_name
from api_gateway.openapi.document import OPERATIONS
from api_gateway.openapi.parameters import PARAMETERS
from api_gateway.openapi.query_parameters import declared_parameters, query_names
from api_gateway.routes import BASE_V2, ROUTES, V1
from tests.support.gateway import AUDIT, fresh

THEIRS = sorted(
    (route, method)
    for route, method in PERMISSIONS
    if ROUTES[route] in V1 or ROUTES[route].startswith(BASE_V2)
)
OURS = sorted(set(PERMISSIONS) - set(THEIRS))
LISTS = ["submissions", "courses", "crosswalks/canvas", "changes", "enrollments"]


def path_of(route):
    path = ROUTES[route].replace(":path", "")
    return path.format(
        id="019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a10",
        course_id="course-v1:A+B+C",
        username="ada",
        rest="course-v1:A+B+C/ada@example.org",
        source="canvas",
        destination="lms",
        report="019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a10",
        webhook="019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a10",
        delivery="1",
        names="ada,course-v1:A+B+C",
    )


def call(gateway, route, method, query):
    return gateway.call(method, path_of(route), gateway.admin, query_string=query, body="{")


@pytest.mark.parametrize(("route", "method"), OURS)
def test_every_route_of_ours_refuses_what_it_does_not_declare(small, route, method):
    declared = declared_parameters(ROUTES, V1)[ROUTES[route], method]

    refused = call(small, route, method, "zzz=1")

    assert (refused.status_code, refused.json["code"]) == (400, declared.code)
    assert refused.json["errors"][0]["field"] == "zzz"
    assert refused.json["errors"][0]["rule"] == "unknown"
    for name in declared.names:
        assert name in refused.json["detail"]


@pytest.mark.parametrize(("route", "method"), OURS)
def test_every_route_of_ours_accepts_what_it_declares(small, route, method):
    declared = declared_parameters(ROUTES, V1)[ROUTES[route], method]
    for name in declared.names:
        answer = call(small, route, method, f"{name}=1")

        rules = (
            [one["rule"] for one in (answer.json or {}).get("errors", [])]
            if (answer.headers.get("content-type", "").endswith("json"))
            else []
        )
        assert "unknown" not in rules


@pytest.mark.parametrize(("route", "method"), THEIRS)
def test_routes_of_open_edx_ignore_what_they_do_not_know(small, route, method):
    plain, asked = (call(small, route, method, query) for query in ("", "zzz=1"))

    assert (plain.status_code, plain.text) == (asked.status_code, asked.text)


def test_every_parameter_that_is_described_is_one_of_an_operation():
    used = {
        name
        for operations in OPERATIONS.values()
        for operation in operations
        for name in query_names(operation)
    }

    assert {it["name"] for it in PARAMETERS.values() if it["in"] == "query"} == used


def test_credentials_are_asked_for_first(small):
    assert small.get("submissions?zzz=1").status_code == 401


@pytest.mark.parametrize(
    ("call_", "near"),
    [
        (("POST", "submissions", "dryrun=true"), "dry_run"),
        (("POST", "submissions", "mode=audit"), "default_mode"),
        (("GET", "submissions", "status=done"), "state"),
        (("GET", "submissions", "page=2"), "cursor"),
        (("GET", "changes", "from=3"), None),
        (("GET", "courses", "LIMIT=3"), "limit"),
    ],
)
def test_the_nearest_name_is_proposed(small, call_, near):
    method, path, query = call_

    refused = small.call(method, path, small.admin, query_string=query, body="x")

    assert refused.status_code == 400
    (error,) = refused.json["errors"]
    assert near in {None, error["expected"]}
    assert near is None or error["message"].endswith(f"is not a known name: did you mean {near}?")
    assert (f"did you mean {near}?" in refused.json["detail"]) == (near is not None)


def test_a_name_that_is_like_none_gets_no_proposal():
    assert nearest_name("zzz", {"limit", "cursor"}) is None
    assert nearest_name("limits", frozenset()) is None


def test_an_unknown_name_is_not_repeated_in_full(small):
    refused = small.get("/livez?" + "x" * 20_000 + "=1")

    assert refused.status_code == 400
    assert len(refused.content) < 2_000


# --- one value or several -----------------------------------------------------------------


@pytest.mark.parametrize(("route", "method"), OURS)
def test_a_parameter_with_one_value_is_refused_if_it_is_repeated(small, route, method):
    declared = declared_parameters(ROUTES, V1)[ROUTES[route], method]
    for name in declared.names - declared.lists:
        refused = call(small, route, method, f"{name}=true&{name}=false")

        assert (refused.status_code, refused.json["code"]) == (400, declared.code)
        assert f"{name} must be given once" in refused.json["detail"]
        (error,) = refused.json["errors"]
        assert (error["field"], error["rule"]) == (name, "duplicate")


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("state=queued", {"queued"}),
        ("state=queued,done", {"queued", "done"}),
        ("state=queued,%20done", {"queued", "done"}),
        ("state=queued&state=done", {"queued", "done"}),
    ],
)
def test_a_list_is_separated_by_commas_or_repeated(small, query, states):
    course_id = small.course(AUDIT)
    small.post("enrollment", small.server, json={"user": fresh("u"), "course_id": course_id})
    small.work()
    small.post("enrollment", small.server, json={"user": fresh("u"), "course_id": course_id})

    shown = small.get(f"submissions?{query}", small.server)

    assert {one["state"] for one in shown.json["submissions"]} == states


@pytest.mark.parametrize("query", ["state=", "state=done,,queued", "state=done,gone"])
def test_an_unknown_state_is_refused(small, query):
    refused = small.get(f"submissions?{query}", small.server)

    assert (refused.status_code, refused.json["errors"][0]["field"]) == (400, "state")


# --- filters of the listing, whose route is one of Open edX -------------------------------


@pytest.mark.parametrize(
    ("query", "near"),
    [("user=ada", "username"), ("usernames=ada", "username"), ("course=x", "course_id")],
)
def test_a_misspelt_filter_never_lists_everybody(small, query, near):
    refused = small.get(f"enrollments?{query}", small.admin)

    name = query.partition("=")[0]
    assert refused.status_code == 400
    assert refused.json["errors"][0]["expected"] == near
    assert f"did you mean {near}?" in refused.json["field_errors"][name]["developer_message"]


# --- two names for the size of a page -----------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
def test_every_list_takes_its_size_under_both_names(small, path):
    small.post(
        "enrollment", small.admin, json={"user": fresh("u"), "course_id": small.course(AUDIT)}
    )
    small.work()
    sizes = [
        small.get(f"{path}?{query}", small.admin)
        for query in ("limit=1", "page_size=1", "limit=1&page_size=1")
    ]

    assert [answer.status_code for answer in sizes] == [200] * 3
    assert sizes[0].json.keys() == sizes[1].json.keys()
    (first,) = {len(items(answer.json)) for answer in sizes}
    assert first <= 1


@pytest.mark.parametrize("path", LISTS)
def test_two_sizes_that_differ_are_refused(small, path):
    refused = small.get(f"{path}?limit=1&page_size=2", small.admin)

    assert (refused.status_code, refused.json["code"]) == (400, "invalid_parameter")
    assert "limit and page_size" in refused.json["message"]


@pytest.mark.parametrize("path", LISTS[:3])
@pytest.mark.parametrize("name", ["limit", "page_size"])
@pytest.mark.parametrize("size", ["0", "1001", "x", "-1", ""])
def test_a_size_out_of_bounds_is_refused_under_both_names(small, path, name, size):
    refused = small.get(f"{path}?{name}={size}", small.admin)

    assert refused.status_code == 400
    assert refused.json["errors"][0]["message"] == (
        f"{name}: '{size}' is out of range: expected 1 to 1000."
    )


def items(page):
    return next(value for value in page.values() if isinstance(value, list))
