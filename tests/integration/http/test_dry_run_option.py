"""?dry_run=true over HTTP: the same answers, and no trace of them anywhere else."""

import pytest

from tests.support.gateway import AUDIT, fresh

CSV = {"Content-Type": "text/csv"}


@pytest.mark.parametrize("flag", ["true", "True", "1"])
def test_a_dry_run_is_a_submission_like_any_other_that_changes_nothing(gateway, flag):
    course_id, user, other = gateway.course(AUDIT, capacity=1), fresh("ann"), fresh("bob")
    text = f"no,user,course_id\n1,{user},{course_id}\n2,{other},{course_id}\n"
    status = gateway.submit(text, query_string=f"dry_run={flag}")
    shown = status.json
    assert (shown["state"], shown["result"]) == ("done", "partial")
    assert shown["options"]["dry_run"] is True
    assert (shown["counts"]["enrolled"], shown["reasons"]) == (1, {"course_full": 1})
    outcomes = gateway.get(shown["links"]["outcomes"], gateway.admin).json["outcomes"]
    assert [it["outcome"] for it in outcomes] == ["enrolled", "refused"]
    as_csv = gateway.get(
        shown["links"]["outcomes"], gateway.admin, headers={"Accept": "text/csv"}
    ).text.splitlines()
    assert as_csv[0] == "\ufeffno,user,course_id,outcome,reason,message"
    assert as_csv[1] == f"1,{user},{course_id},enrolled,,"
    assert gateway.get(f"enrollment/{user},{course_id}", gateway.admin).content == b""
    assert gateway.get(f"learners/{user}", gateway.admin).status_code == 404
    assert gateway.get(f"courses/{course_id}", gateway.admin).json["seats_taken"] == 0


@pytest.mark.parametrize("flag", ["false", "0"])
def test_who_says_no_to_it_means_the_usual(small, flag):
    course_id, user = small.course(AUDIT), fresh("ann")
    shown = small.submit(f"user,course_id\n{user},{course_id}\n", query_string=f"dry_run={flag}")
    assert "dry_run" not in shown.json["options"]
    assert small.get(f"enrollment/{user},{course_id}", small.admin).json["is_active"] is True


@pytest.mark.parametrize("flag", ["", "yes", "tru", "2"])
def test_any_other_word_is_400(small, flag):
    answer = small.post(
        "submissions",
        small.admin,
        body="user,course_id\nann,a/b/c\n",
        headers=CSV,
        query_string=f"dry_run={flag}",
    )
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "dry_run")


def test_the_same_key_for_a_dry_run_and_for_real_is_422(small):
    text, key = f"user,course_id\nann,{small.course(AUDIT)}\n", {"Idempotency-Key": fresh("key")}
    small.submit(text, headers=key, query_string="dry_run=true")
    answer = small.post("submissions", small.admin, body=text, headers=CSV | key)
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
