"""Columns and lines of uploaded files over HTTP: what is not read is named, or refuses the file."""

import json

import pytest

from enrollment.domain.model import Learner
from enrollment.storage import learners
from tests.integration.http.test_format_uploads import archive, outcomes, result_file
from tests.support.gateway import AUDIT, VERIFIED, fresh

CSV, NDJSON = "text/csv", "application/x-ndjson"


def send(gateway, body, query="", content_type=CSV):
    headers = {"Content-Type": content_type}
    return gateway.post(
        "submissions", gateway.admin, body=body, headers=headers, query_string=query
    )


def worked(gateway, accepted):
    """Returns the status of an accepted file after a worker ran."""
    assert accepted.status_code == 202, accepted.text
    gateway.work()
    return gateway.get(accepted.headers["location"], gateway.admin)


def encoded(course_id):
    return course_id.replace("+", "%2B")


def test_columns_that_are_not_read_are_named_in_the_submission(gateway):
    course_id = gateway.course(AUDIT)
    accepted = send(gateway, f"No,user,Course_ID,Full name\n1,{fresh('u')},{course_id},x\n")

    assert accepted.json["ignored_columns"] == ["No", "Full name"]
    assert worked(gateway, accepted).json["ignored_columns"] == ["No", "Full name"]
    plain = send(gateway, f"user,course_id\n{fresh('u')},{course_id}\n")
    assert plain.json["ignored_columns"] == []
    listed = gateway.get("submissions?limit=2", gateway.admin).json["submissions"]
    assert [one["ignored_columns"] for one in listed] == [[], ["No", "Full name"]]


def test_a_single_request_has_no_columns(gateway):
    body = {"user": fresh("u"), "course_id": gateway.course(AUDIT)}
    accepted = gateway.post("enrollment", gateway.admin, json=body)

    assert accepted.json["ignored_columns"] == []
    assert worked(gateway, accepted).json["ignored_columns"] == []


def test_those_of_an_archive_are_named_together(gateway):
    course_id = gateway.course(AUDIT)
    files = {
        "a.csv": f"No,user,course_id\n1,{fresh('u')},{course_id}\n",
        "b.csv": f"user,note,course_id,no\n{fresh('u')},x,{course_id},1\n",
        "c.ndjson": json.dumps({"user": fresh("u"), "course_id": course_id, "x": 1}),
    }
    accepted = send(gateway, archive(files), content_type="application/zip")

    assert accepted.json["ignored_columns"] == ["No", "note", "no"]


def test_a_column_that_looks_like_one_that_is_read_refuses_the_file(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("u")
    gateway.enroll(gateway.admin, course_id, user)
    text = f"user,course_id,status\n{user},{course_id},inactive\n"
    before = gateway.get("submissions", gateway.admin).json["submissions"]

    refused = send(gateway, text)

    assert (refused.status_code, refused.json["code"]) == (422, "unread_columns")
    (found,) = refused.json["errors"]
    assert (found["value"], found["expected"], found["line"]) == ("status", ["is_active"], 1)
    assert "ignore=status" in refused.json["detail"]
    assert gateway.get("submissions", gateway.admin).json["submissions"] == before
    accepted = send(gateway, text, "ignore=Status,%20foo")
    assert accepted.json["options"]["ignore"] == ["status", "foo"]
    assert accepted.json["ignored_columns"] == ["status"]
    status = worked(gateway, accepted)
    assert status.json["counts"]["unchanged"] == 1
    again = send(gateway, result_file(gateway, status, ""), "ignore=status")
    assert worked(gateway, again).json["counts"]["unchanged"] == 1
    zipped = archive({"a.csv": text})
    refused = send(gateway, zipped, content_type="application/zip")
    assert (refused.status_code, refused.json["code"]) == (422, "unread_columns")
    assert refused.json["detail"].startswith("a.csv: ")
    assert send(gateway, zipped, "ignore=status", "application/zip").status_code == 202


@pytest.mark.parametrize("ignore", ["ignore=", "ignore=,%20", "ignore=" + "x" * 2001, "ignore=%00"])
def test_names_to_ignore_are_a_list(small, ignore):
    answer = send(small, "user,course_id\nann,a/b/c\n", ignore)

    assert (answer.status_code, answer.json["code"]) == (400, "option_invalid")


def test_an_unknown_option_is_named_with_the_nearest(small):
    answer = send(small, "user,course_id\nann,a/b/c\n", "dryrun=true")

    assert answer.status_code == 400
    assert "did you mean dry_run?" in answer.json["detail"]


def test_a_member_that_looks_like_one_that_is_read_makes_its_row_invalid(gateway):
    course_id, ada, bob = gateway.course(AUDIT, VERIFIED), fresh("u"), fresh("u")
    bodies = [
        {"user": ada, "course_id": course_id, "mod": "verified"},
        {"user": bob, "course_id": course_id, "note": "x"},
    ]
    body = "\n".join(map(json.dumps, bodies))

    found = outcomes(gateway, worked(gateway, send(gateway, body, content_type=NDJSON)))

    assert [(one["user"], one["outcome"]) for one in found] == [(ada, "invalid"), (bob, "enrolled")]
    error = found[0]["errors"][0]
    assert (error["field"], error["rule"], error["expected"]) == ("mod", "unknown_member", "mode")
    passed = worked(gateway, send(gateway, body, "ignore=mod", NDJSON))
    assert [one["outcome"] for one in outcomes(gateway, passed)] == ["enrolled", "unchanged"]
    name = fresh("source")
    crossed = worked(gateway, send(gateway, body, f"source={name}", NDJSON))
    assert [one["outcome"] for one in outcomes(gateway, crossed)] == ["invalid", "unchanged"]


def test_a_list_of_emails_is_complete_where_the_course_is_named(gateway):
    course_id, user = gateway.course(AUDIT), fresh("mia")
    with gateway.sessions.begin() as session:
        learners.save(session, Learner(username=user, email=f"{user}@example.org"))
    query = f"course_id={encoded(course_id)}"

    status = worked(gateway, send(gateway, f"email\n{user}@example.org\n", query))

    assert status.json["counts"]["enrolled"] == 1
    assert gateway.get(f"enrollment/{user},{course_id}", gateway.admin).json["is_active"]
    again = worked(gateway, send(gateway, result_file(gateway, status, ""), query))
    assert again.json["counts"]["unchanged"] == 1
    by_name = worked(gateway, send(gateway, f"user\n{user}\n", f"{query}&source={fresh('s')}"))
    assert by_name.json["counts"]["unchanged"] == 1
    dry = worked(gateway, send(gateway, f"user\n{fresh('u')}\n", f"{query}&dry_run=true"))
    assert dry.json["counts"]["enrolled"] == 1


@pytest.mark.parametrize("on_error", ["continue", "abort"])
def test_lines_that_are_no_rows_abort_nothing(gateway, on_error):
    course_id, users = gateway.course(AUDIT), [fresh("u") for _ in range(3)]
    blackboard = (
        "EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROLE|ROW_STATUS|AVAILABLE_IND\n"
        f"{course_id}|{users[0]}|Student|ENABLED|Y\n{course_id}|{users[1]}|Student|ENABLED|Y\n"
        "***FileFooter|2|17:35:21 09/01/2026\n"
    )
    status = worked(gateway, send(gateway, blackboard, f"on_error={on_error}", "text/plain"))
    assert (status.json["format"], status.json["counts"]["enrolled"]) == ("blackboard", 2)
    assert status.json["counts"]["total"] == 2
    excel = f"sep=;\r\nuser;course_id\r\n{users[2]};{course_id}\r\n\x1a"
    status = worked(gateway, send(gateway, excel, f"on_error={on_error}"))
    assert (status.json["counts"]["total"], status.json["counts"]["enrolled"]) == (1, 1)
    assert outcomes(gateway, status)[0]["line"] == 3


def test_clevers_file_is_read_with_its_crosswalk(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ned")
    entry = {"kind": "course", "theirs": fresh("MATH-"), "ours": course_id}
    put = gateway.call("PATCH", "crosswalks/clever", gateway.admin, json=[entry])
    assert put.status_code == 200, put.text
    text = f"School_id,Student_id,Section_id\n13K,{user},{entry['theirs']}\n"

    status = worked(gateway, send(gateway, text))

    assert (status.json["format"], status.json["options"]["source"]) == ("clever", "clever")
    assert status.json["columns"] == {"Student_id": "learner", "Section_id": "course"}
    assert status.json["counts"]["enrolled"] == 1


def test_ids_kept_as_text_name_the_learner(gateway):
    course_id, number = gateway.course(AUDIT), fresh("0012x")
    text = f'user,course_id\n\'{number},{course_id}\n"=""{number}""",{course_id}\n'

    found = outcomes(gateway, worked(gateway, send(gateway, text)))

    assert [(one["user"], one["outcome"]) for one in found] == [
        (number, "enrolled"),
        (number, "unchanged"),
    ]
