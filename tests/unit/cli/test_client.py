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

    assert result.exit_code == 5
    assert "The file cannot be read." in result.stderr
    assert "line 0: mode: x\ufffd[31m: slug" in result.stderr
    assert "… and 5 more" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("expected", "shown"),
    [
        (
            ["user or email", "course_id"],
            "usr: unknown_columns; expected: user or email, course_id",
        ),
        ("text/csv", "usr: unknown_columns; expected: text/csv"),
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

    assert result.exit_code == 4
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


def scripted_client(
    *answers: httpx.Response | Exception, **more: object
) -> tuple[Service, list[httpx.Request]]:
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
        "http://s/", None, transport=httpx.MockTransport(answer), pause=lambda _: None, **more
    )
    return made, heard


def test_what_is_sent_again_is_sent_whole_and_under_the_same_key(rows):
    client, heard = scripted_client(
        httpx.ReadTimeout("late"),
        httpx.Response(503, headers={"Retry-After": "1"}),
        httpx.Response(409, headers={"Retry-After": "soon"}),
        httpx.Response(202, json=QUEUED),
    )
    upload = UploadRequest(rows, {}, {})

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

    assert [heard.headers["x-edx-api-key"] for heard in service.heard] == ["enr_from_file", "mine"]


def test_courses_are_listed_page_by_page(enroll, service):
    course = {"course_id": "c", "course_name": "Al\tgebra", "seats_taken": 1, "capacity": None}
    service.on(
        "GET",
        "/courses",
        Answer(200, {"courses": [course], "next": "X"}),
        Answer(200, {"courses": [{**course, "capacity": 5}], "next": None}),
    )

    result = enroll("courses", "list", "--url", service.url)

    assert result.stdout.splitlines() == [
        "course_id\tseats_taken\tcapacity\tcourse_name",
        "c\t1\tnone\tAl\ufffdgebra",
        "c\t1\t5\tAl\ufffdgebra",
    ]
    assert [heard.params for heard in service.heard] == [{}, {"cursor": "X"}]


def test_a_course_is_shown(enroll, service):
    service.on("GET", "/courses/a/b+c", Answer(200, {"course_id": "a/b+c"}))

    result = enroll("courses", "show", "a/b+c", "--url", service.url)

    assert json.loads(result.stdout) == {"course_id": "a/b+c"}


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_outage_is_waited_out_and_said_once(capsys, status):
    client, heard = scripted_client(
        httpx.ConnectError("refused"),
        httpx.ConnectError("refused"),
        httpx.Response(status, headers={"Retry-After": "1"}),
        httpx.ReadError("cut"),
        httpx.Response(status),
        httpx.ConnectError("refused"),
        httpx.Response(200, json={}),
    )

    assert client.get("/courses", patience=600).status_code == 200

    assert len(heard) == 7
    assert capsys.readouterr().err.splitlines() == [
        "The service does not answer; waiting for it, up to 10 minutes.",
        "The service answers again.",
    ]


def test_an_outage_is_not_waited_out_for_ever():
    moments = iter(range(0, 10_000, 100))
    client, heard = scripted_client(httpx.ConnectError("refused"), clock=lambda: next(moments))

    with pytest.raises(Unreachable):
        client.get("/courses", patience=600)

    assert len(heard) == 6


def test_a_stream_is_opened_again_after_an_outage():
    client, heard = scripted_client(httpx.ConnectError("refused"), httpx.Response(200, text="a"))

    with client.stream("/x", accept="text/csv", patience=600) as chunks:
        assert b"".join(chunks) == b"a"

    assert len(heard) == 2


@pytest.mark.parametrize("tail", ["", "/", "/api/enrollment/v1", "/api/enrollment/v1/"])
def test_the_address_of_the_api_is_understood(enroll, service, tail):
    service.on("GET", "/courses", Answer(200, {"courses": [], "next": None}))

    assert enroll("courses", "list", "--url", service.url + tail).exit_code == 0


@pytest.mark.parametrize("key", ["enr_secret ", " enr_secret\r\n", "enr_secret\n"])
def test_blanks_around_a_key_are_taken_off(enroll, service, key):
    service.on("GET", "/courses", Answer(200, {"courses": [], "next": None}))

    assert enroll("courses", "list", "--url", service.url, "--key", key).exit_code == 0

    assert service.heard[0].headers["x-edx-api-key"] == "enr_secret"


@pytest.mark.parametrize("key", ["enr_sec ret", "enr_secrét", "enr_se\x00cret"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(enroll, key):
    result = enroll("courses", "list", "--key", key)

    assert result.exit_code == 4
    assert "API key" in result.stderr
    assert "enr_se" not in result.output


def test_a_token_is_sent_as_a_token(enroll, service):
    service.on("GET", "/courses", Answer(200, {"courses": [], "next": None}))

    enroll("courses", "list", "--url", service.url, "--key", "a.b.c")

    assert service.heard[0].headers["authorization"] == "Bearer a.b.c"


def test_a_wrong_key_is_said_to_be_one_and_where_it_came_from(enroll, service):
    detail = "The API key is not valid. Send an API key as `X-Edx-Api-Key: KEY` or …"
    service.on("GET", "/courses", Answer(401, {"detail": detail}))

    result = enroll("courses", "list", "--url", service.url, "--key", "wrong")

    assert result.exit_code == 4
    assert result.stderr.splitlines()[:2] == [
        "Error: The API key is not valid.",
        "The key is that of --key or ENROLL_API_KEY.",
    ]


def test_without_a_key_the_files_that_were_looked_for_are_named(enroll, service, tmp_path):
    service.on("GET", "/courses", Answer(401, {"detail": "No."}))

    result = enroll("courses", "list", "--url", service.url)

    assert f"{tmp_path}/data/admin.key does not exist" in result.stderr


def test_a_missing_scope_is_code_four_and_named(enroll, service, rows):
    answer = {"detail": "No.", "message": "No. It needs an API key with the scope enroll."}
    service.on("POST", "/submissions", Answer(403, answer))

    result = enroll("submit", rows, "--url", service.url)

    assert result.exit_code == 4
    assert "the scope enroll" in result.stderr


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "malformed_zip", 5),
        (413, "too_large", 5),
        (415, "unsupported_media_type", 5),
        (422, "unknown_columns", 5),
        (400, "option_invalid", 2),
        (404, "not_found", 2),
        (409, "submission_not_finished", 2),
    ],
)
def test_a_file_that_is_refused_has_a_code_of_its_own(
    enroll, service, rows, status, code, expected
):
    service.on("POST", "/submissions", Answer(status, {"detail": "No.", "code": code}))

    assert enroll("submit", rows, "--url", service.url).exit_code == expected
