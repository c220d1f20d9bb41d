"""Submissions, handed in and followed from the command line."""

import gzip
import json

import pytest

from api_gateway.cli.remote import waiting
from tests.support.scripted_server import DONE, FAILED, ID, QUEUED, Answer


@pytest.mark.parametrize(("last", "code"), [(DONE, 0), (FAILED, 1)])
def test_submit_waits_for_the_end_and_its_code_says_whether_all_were_accepted(
    enroll, service, rows, last, code
):
    service.on("POST", "/submissions", Answer(202, QUEUED))
    service.on(
        "GET",
        f"/submissions/{ID}",
        Answer(200, QUEUED, {"ETag": '"1"'}),
        Answer(304),
        Answer(200, last),
    )

    result = enroll("submit", rows, "--url", service.url, "--key", "K")

    assert result.exit_code == code, result.output
    sent, first, second, *_ = service.heard
    assert sent.body == rows.read_bytes()
    assert sent.headers["content-type"] == "text/csv"
    assert sent.headers["x-edx-api-key"] == "K"
    assert sent.params == {}
    assert "prefer" not in first.headers
    assert second.headers["if-none-match"] == '"1"'
    assert second.headers["prefer"].startswith("wait=")
    assert f"total\t{last['counts']['total']}" in result.stdout
    assert ("course_full\t2" in result.stdout) == (code == 1)
    assert "rows: 3 of 3" in result.stderr


@pytest.mark.parametrize(("seconds", "is_said"), [(0.0, True), (3_600.0, False)])
def test_it_is_said_once_that_no_worker_has_begun(
    enroll, service, rows, monkeypatch, seconds, is_said
):
    monkeypatch.setattr(waiting, "NOT_TAKEN_SECONDS", seconds)
    monkeypatch.setattr(waiting, "STATUS_INTERVAL_SECONDS", 0.0)
    service.on("POST", "/submissions", Answer(202, QUEUED))
    service.on(
        "GET",
        f"/submissions/{ID}",
        Answer(200, QUEUED, {"ETag": '"1"'}),
        Answer(304),
        Answer(304),
        Answer(200, DONE),
    )

    result = enroll("submit", rows, "--url", service.url, "--key", "K")

    assert result.exit_code == 0, result.output
    assert result.stderr.count("No worker has taken it yet") == is_said


def test_every_call_of_submit_has_a_key_of_its_own(enroll, service, rows):
    service.on("POST", "/submissions", Answer(202, QUEUED))

    for _ in range(2):
        enroll("submit", rows, "--no-wait", "--url", service.url)

    first, second = (heard.headers["idempotency-key"] for heard in service.heard)
    assert first != second


def test_submit_without_waiting_gives_the_id(enroll, service, rows):
    service.on("POST", "/submissions", Answer(202, QUEUED))

    result = enroll("submit", rows, "--no-wait", "--url", service.url)

    assert (result.exit_code, result.stdout) == (0, f"Submission {ID}\n")


def test_options_travel_only_where_they_were_given(enroll, service, rows):
    service.on("POST", "/submissions", Answer(202, QUEUED))
    options = ["--format", "canvas", "--default-mode", "audit", "--dry-run", "--on-error", "abort"]
    options += ["--source", "sis", "--course-id", "a/b/c"]

    enroll("submit", rows, "--no-wait", "--url", service.url, *options)

    assert service.heard[0].params == {
        "format": "canvas",
        "source": "sis",
        "course_id": "a/b/c",
        "default_mode": "audit",
        "dry_run": "true",
        "on_error": "abort",
    }


def test_the_rows_that_failed_are_saved_to_be_mended(enroll, service, rows, tmp_path):
    service.on("POST", "/submissions", Answer(202, FAILED))
    service.on("GET", f"/submissions/{ID}", Answer(200, FAILED))
    service.on("GET", f"/submissions/{ID}/outcomes", Answer(200, b"user,outcome\nada,refused\n"))
    target = tmp_path / "failed.csv"

    result = enroll("submit", rows, "--failed-to", target, "--url", service.url)

    assert result.exit_code == 1
    assert target.read_text() == "user,outcome\nada,refused\n"
    assert service.heard[-1].params == {"outcome": "refused,invalid,cancelled"}
    assert service.heard[-1].headers["accept"] == "text/csv"


def test_failed_rows_cannot_be_saved_without_waiting(enroll, rows):
    result = enroll("submit", rows, "--no-wait", "--failed-to", "x.csv")

    assert result.exit_code == 2


def test_a_packed_file_travels_as_it_is(enroll, service, tmp_path):
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress(b"user,course_id\n"))
    service.on("POST", "/submissions", Answer(202, QUEUED))

    enroll("submit", file, "--no-wait", "--url", service.url)

    assert service.heard[0].body == file.read_bytes()
    assert service.heard[0].headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(("state", "code"), [(QUEUED, 0), (DONE, 0), (FAILED, 1)])
def test_status_says_how_far_it_is(enroll, service, state, code):
    service.on("GET", f"/submissions/{ID}", Answer(200, state))

    result = enroll("status", ID, "--url", service.url)

    assert result.exit_code == code
    assert result.stdout.startswith(state["state"])


def test_status_watches_to_the_end(enroll, service):
    service.on("GET", f"/submissions/{ID}", Answer(200, QUEUED), Answer(200, DONE))

    result = enroll("status", ID, "--watch", "--url", service.url)

    assert result.exit_code == 0
    assert len(service.heard) == 2


def test_on_a_terminal_there_is_a_bar_and_a_table(enroll, service, rows, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    service.on("POST", "/submissions", Answer(202, QUEUED))
    service.on("GET", f"/submissions/{ID}", Answer(200, {**DONE, "rows_per_second": 20_000}))

    result = enroll("submit", rows, "--url", service.url)

    assert "━" in result.stderr
    assert "20,000/s" in result.stderr
    assert "│" in result.stdout


def test_cancel_says_what_the_state_is(enroll, service):
    service.on("POST", f"/submissions/{ID}/cancel", Answer(202, {**DONE, "state": "running"}))

    result = enroll("cancel", ID, "--url", service.url)

    assert result.exit_code == 0
    assert "running" in result.stdout


def test_columns_that_are_not_read_are_shown_and_names_to_ignore_are_sent(enroll, service, rows):
    finished = {**FAILED, "ignored_columns": ["status", "no\x1bte"]}
    service.on("POST", "/submissions", Answer(202, finished))
    service.on("GET", f"/submissions/{ID}", Answer(200, finished))

    result = enroll("submit", rows, "--ignore", "status", "--url", service.url)

    assert service.heard[0].params == {"ignore": "status"}
    assert "Not read: status, no\ufffdte (columns of the file" in result.stderr


def test_outcomes_go_to_stdout_as_csv(enroll, service):
    service.on("GET", f"/submissions/{ID}/outcomes", Answer(200, b"\xef\xbb\xbfuser,outcome\n"))

    result = enroll(
        "outcomes", ID, "--outcome", "refused", "--outcome", "invalid", "--url", service.url
    )

    assert result.stdout == "user,outcome\n"
    assert service.heard[0].params == {"outcome": "refused,invalid"}


def test_outcomes_in_a_csv_file_keep_the_mark_by_which_spreadsheets_know_it(
    enroll, service, tmp_path
):
    content = b"\xef\xbb\xbfuser,outcome\n"
    service.on("GET", f"/submissions/{ID}/outcomes", Answer(200, content))

    result = enroll("outcomes", ID, "-o", tmp_path / "o.csv", "--url", service.url)

    assert result.exit_code == 0
    assert (tmp_path / "o.csv").read_bytes() == content


def test_outcomes_go_to_a_file_in_the_form_of_its_name(enroll, service, tmp_path):
    service.on("GET", f"/submissions/{ID}/outcomes", Answer(200, b"{}\n"))

    result = enroll("outcomes", ID, "-o", tmp_path / "o.ndjson", "--url", service.url)

    assert result.exit_code == 0
    assert (tmp_path / "o.ndjson").read_bytes() == b"{}\n"
    assert service.heard[0].headers["accept"] == "application/x-ndjson"


def test_outcomes_that_are_refused_leave_no_file(enroll, service, tmp_path):
    result = enroll("outcomes", ID, "-o", tmp_path / "o.csv", "--url", service.url)

    assert result.exit_code == 2
    assert not (tmp_path / "o.csv").exists()


def test_submissions_are_listed(enroll, service):
    one = {**FAILED, "received_at": "2026-11-23T10:00:00Z"}
    service.on(
        "GET",
        "/submissions",
        Answer(200, {"submissions": [one], "next": "X"}),
        Answer(200, {"submissions": [one], "next": "Y"}),
    )

    listed = enroll("submissions", "list", "--state", "done", "--limit", 2, "--url", service.url)

    assert listed.stdout.splitlines() == [
        "submission_id\treceived_at\tstate\tresult\trows\tpending\tfailed",
        *[f"{ID}\t2026-11-23T10:00:00Z\tdone\tpartial\t3\t0\t2"] * 2,
    ]
    assert [heard.params for heard in service.heard] == [
        {"state": "done"},
        {"state": "done", "cursor": "X"},
    ]
    words = ("submissions", "list", "--json", "--limit", 1, "--url", service.url)
    assert json.loads(enroll(*words).stdout) == {"submissions": [one]}


def test_what_was_not_read_and_how_to_see_what_failed_is_said(enroll, service, rows):
    more = {"ignored_columns": ["note", "x\x1b"], "learners_created": 2}
    service.on("POST", "/submissions", Answer(202, QUEUED))
    service.on("GET", f"/submissions/{ID}", Answer(200, {**FAILED, **more}))

    result = enroll("submit", rows, "--url", service.url)

    assert "New learners registered: 2." in result.stderr
    assert "Not read: note, x\ufffd (columns of the file" in result.stderr
    assert f"enroll outcomes {ID} --outcome refused,invalid,cancelled" in result.stderr
    status = enroll("status", ID, "--url", service.url)
    assert f"enroll outcomes {ID} --outcome refused" in status.stderr


def test_columns_to_be_passed_over_are_named(enroll, service, rows):
    service.on("POST", "/submissions", Answer(202, QUEUED))

    words = ("--ignore", "status", "--ignore", "action,state", "--format", "Canvas")
    enroll("submit", rows, "--no-wait", *words, "--url", service.url)

    assert service.heard[0].params == {"ignore": "status,action,state", "format": "canvas"}


def test_the_machine_form_is_the_submission_alone(enroll, service, rows):
    service.on("POST", "/submissions", Answer(202, QUEUED))
    service.on("POST", f"/submissions/{ID}/cancel", Answer(202, DONE))
    service.on("GET", f"/submissions/{ID}", Answer(200, FAILED))
    service.on("GET", f"/submissions/{ID}/outcomes", Answer(200, b"{}\n"))

    def printed(*words):
        return json.loads(enroll(*words, "--json", "--url", service.url).stdout)

    assert printed("submit", rows) == printed("status", ID) == FAILED
    assert printed("submit", rows, "--no-wait") == QUEUED
    assert printed("cancel", ID) == DONE
    assert printed("outcomes", ID) == {}
    assert service.heard[-1].headers["accept"] == "application/x-ndjson"
