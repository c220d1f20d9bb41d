"""The longest names and values that are accepted, through the whole way."""

import pytest

from tests.support.gateway import AUDIT, Mode, fresh

LONGEST = 255


def longest(word, size=LONGEST):
    return fresh(word).ljust(size, "x")


def longest_email(size):
    host = "@" + ("b" * 60 + ".") * 3
    return fresh("a").ljust(size - len(host) - 3, "a") + host + "org"


def test_the_longest_username_as_the_subject_of_a_token_enrolls(gateway):
    course_id, user = gateway.course(AUDIT), longest("u")
    who = gateway.learner(user)

    accepted = gateway.post("enrollment", who, json={"course_details": {"course_id": course_id}},
                            headers={"Idempotency-Key": "k" * LONGEST})  # fmt: skip
    assert accepted.status_code == 202, accepted.text
    gateway.work()

    status = gateway.get(accepted.headers["location"], who).json
    assert (status["result"], status["caller"]) == ("succeeded", user)
    listed = gateway.get("submissions", who).json["submissions"]
    assert [one["submission_id"] for one in listed] == [status["submission_id"]]
    history = gateway.get(f"enrollment/{user},{course_id}/history", who).json["events"]
    assert [event["data"]["caller"] for event in history] == [user]


def test_the_longest_names_of_a_row_enroll(gateway):
    cohort, mode = longest("cohort"), longest("m", 100)
    key = "course-v1:Uni+" + fresh("c") + "+"
    course_id = key.ljust(LONGEST, "r")
    gateway.course(Mode(slug=mode), course_id=course_id, cohorts=(cohort,))
    user, email = longest("u"), longest_email(254)
    rows = f"user,email,course_id,mode,cohort\n{user},{email},{course_id},{mode},{cohort}\n"

    status = gateway.submit(rows)

    assert status.json["result"] == "succeeded", status.text
    assert status.json["learners_created"] == 1
    assert gateway.get(f"learners/{user}", gateway.admin).json["username"] == user


@pytest.mark.parametrize("size", [254, 255])
def test_the_longest_email_of_a_learner(gateway, size):
    email = longest_email(size)

    answer = gateway.call("PUT", f"learners/{fresh('u')}", gateway.admin, json={"email": email})

    assert answer.status_code == (201 if size == 254 else 400), answer.text
    if size == 254:
        assert answer.json["email"] == email
