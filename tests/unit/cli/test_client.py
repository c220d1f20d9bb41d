"""The client of a running service: what it asks, again and again if need be, and what it says."""

import json

import httpx
import pytest

from api_gateway.cli.exit_codes import Refused, Unreachable
from api_gateway.cli.remote.client import Service, UploadRequest
from tests.support.scripted_server import ID, QUEUED, Answer, unused_port


def test_a_refusal_is_said_with_its_findings_and_no_traceback(enroll, service, rows):
    findings = [
        {"line": n, "field": "mode", "value": "x\x1b[31m", "rule": "slug"} for n in range(25)
    ]
    body = {"detail": "The file cannot be read.", "errors": findings}
    service.on("POST", "/submissions", Answer(422, body))

    result = enroll("submit", rows, "--url", service.url)

    assert result.exit_code == 2
    assert "The file cannot be read." in result.stderr
    assert "line 0: mode: x\ufffd[31m: slug" in result.stderr
    assert "… and 5 more" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("expected", "shown"),
    [
        (
            ["user or email", "course_id"],
            "usr: unknown_columns (expected: user or email, course_id)",
        ),
        ("text/csv", "usr: unknown_columns (expected: text/csv)"),
        (None, "usr: unknown_columns\n"),
    ],
)
def test_what_was_expected_is_said(enroll, service, rows, expected, shown):
    finding = {"value": "usr", "rule": "unknown_columns", "expected": expected}
    body = {"detail": "The file cannot be read.", "errors": [finding]}
    service.on("POST", "/submissions", Answer(422, body))

    assert shown in enroll("submit", rows, "--url", service.url).stderr


def test_who_is_not_known_is_told_about_keys(enroll, service):
    service.on("GET", "/courses", Answer(401, {"detail": "Who are you?"}))

    result = enroll("courses", "list", "--url", service.url)

    assert result.exit_code == 2
    assert "ENROLL_API_KEY" in result.stderr


def test_a_service_that_is_not_there_is_code_three(enroll):
    result = enroll("status", ID, "--url", f"http://127.0.0.1:{unused_port()}")

    assert result.exit_code == 3
    assert "enroll up" in result.stderr


def test_a_broken_stream_of_outcomes_is_code_three(enroll):
    result = enroll("outcomes", ID, "--url", f"http://127.0.0.1:{unused_port()}")

    assert result.exit_code == 3


def test_an_answer_that_is_no_answer_is_code_three(enroll, service):
    service.on("GET", f"/submissions/{ID}", Answer(500, b"<html>"))

    result = enroll("status", ID, "--url", service.url)

    assert result.exit_code == 3
    assert "Internal Server Error" in result.stderr


@pytest.mark.parametrize("words", [["status", "nope"], ["submit", "/nowhere.csv"], ["keys"], []])
def test_wrong_usage_is_code_two(enroll, words):
    assert enroll(*words).exit_code == 2


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://[::1"])
def test_a_url_that_is_none_is_wrong_usage(enroll, url):
    assert enroll("status", ID, "--url", url).exit_code == 2


def scripted_client(*answers: httpx.Response | Exception) -> tuple[Service, list[httpx.Request]]:
    """A client whose requests get these answers, and which waits for nothing."""
    heard: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        heard.append(request)
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Exception):
            raise given
        return given

    made = Service(
        "http://s/", None, transport=httpx.MockTransport(answer), pause=lambda _seconds: None
    )
    return made, heard


def test_what_is_sent_again_is_sent_whole_and_under_the_same_key(rows):
    client, heard = scripted_client(
        httpx.ReadTimeout("late"),
        httpx.Response(503, headers={"Retry-After": "1"}),
        httpx.Response(409, headers={"Retry-After": "soon"}),
        httpx.Response(202, json=QUEUED),
    )
    upload = UploadRequest(path=rows, headers={}, params={}, on_chunk=lambda _: None)

    assert client.send("/submissions", upload).status_code == 202

    assert len({request.headers["Idempotency-Key"] for request in heard}) == 1
    assert {request.content for request in heard} == {rows.read_bytes()}
    assert len(heard) == 4


@pytest.mark.parametrize(
    ("answer", "kind", "asked"),
    [
        pytest.param(httpx.ConnectError("refused"), Unreachable, 1, id="nobody-there"),
        pytest.param(httpx.ReadError("cut"), Unreachable, 5, id="cut"),
        pytest.param(httpx.Response(503), Unreachable, 5, id="not-now"),
        pytest.param(httpx.Response(500), Unreachable, 1, id="broken"),
        pytest.param(httpx.Response(409, json={"detail": "no"}), Refused, 1, id="refused"),
        pytest.param(httpx.Response(409, json=["?"]), Refused, 1, id="no-problem-object"),
    ],
)
def test_what_cannot_be_had_is_asked_for_so_often(answer, kind, asked):
    client, heard = scripted_client(answer)

    with pytest.raises(kind):
        client.get("/courses")

    assert len(heard) == asked


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (httpx.Response(200), True),
        (httpx.Response(503), False),
        (httpx.ConnectError("refused"), False),
    ],
)
def test_ready_is_what_the_service_says(answer, ready):
    client, _ = scripted_client(answer)

    assert client.is_ready() is ready


def test_a_key_in_the_data_folder_is_used_by_itself(enroll, service, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.key").write_text("enr_from_file\n")
    service.on("GET", "/courses", Answer(200, {"courses": [], "next": None}))

    enroll("courses", "list", "--url", service.url)
    enroll("courses", "list", "--url", service.url, "--key", "mine")

    assert [heard.headers["authorization"] for heard in service.heard] == [
        "Bearer enr_from_file",
        "Bearer mine",
    ]


def test_courses_are_listed_page_by_page(enroll, service):
    course = {"course_id": "c", "course_name": "Al\tgebra", "seats_taken": 1, "capacity": None}
    service.on(
        "GET",
        "/courses",
        Answer(200, {"courses": [course], "next": "X"}),
        Answer(200, {"courses": [{**course, "capacity": 5}], "next": None}),
    )

    result = enroll("courses", "list", "--url", service.url)

    assert result.stdout == "c\t1/∞\tAl\ufffdgebra\nc\t1/5\tAl\ufffdgebra\n"
    assert [heard.params for heard in service.heard] == [{}, {"cursor": "X"}]


def test_a_course_is_shown(enroll, service):
    service.on("GET", "/courses/a/b+c", Answer(200, {"course_id": "a/b+c"}))

    result = enroll("courses", "show", "a/b+c", "--url", service.url)

    assert json.loads(result.stdout) == {"course_id": "a/b+c"}


@pytest.mark.parametrize(
    ("name", "kind"), [("a.json", "application/json"), ("a.ndjson", "application/x-ndjson")]
)
def test_courses_are_loaded_from_a_file(enroll, service, tmp_path, name, kind):
    (tmp_path / name).write_text("[]")
    service.on("POST", "/courses", Answer(200, {"saved": 4}))

    result = enroll("courses", "load", tmp_path / name, "--url", service.url)

    assert result.stdout == "4 courses saved.\n"
    assert service.heard[0].headers["content-type"] == kind


def test_courses_are_not_loaded_from_anything_else(enroll, rows):
    assert enroll("courses", "load", rows).exit_code == 2
