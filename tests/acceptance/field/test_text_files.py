"""Small files from the field, each with the outcomes that its rows must have."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

from tests.support.service_processes import ended, needs_proc

pytestmark = needs_proc

CANVAS = "course_id,user_id,role,section_id,status\n"
ONEROSTER = (
    "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,"
    "beginDate,endDate\n"
)
PROVISIONING = (
    "canvas_course_id,course_id,canvas_user_id,user_id,role,role_id,canvas_section_id,section_id,"
    "status,canvas_associated_user_id,associated_user_id,created_by_sis,base_role_type\n"
)
BLACKBOARD = (
    "EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROLE|ROW_STATUS|AVAILABLE_IND\r\n"
    "MATH-101|fay{{T}}|Student|ENABLED|Y\r\n"
    "MATH-101|gus{{T}}|Student|ENABLED|Y\r\n"
)
UNKNOWN_HEADER = "Ism;Familiya;Pochta\r\nNodira;Karimova;nodira{{T}}@example.org\r\n"


class Case(NamedTuple):
    """A file, and what must become of it."""

    file: str
    outcomes: list[str]
    format: str = "native"
    #: The usernames that the rows mean.
    users: list[str | None] | None = None
    #: Learners who are there before, with their e-mails.
    learners: tuple[tuple[str, str], ...] = ()
    options: Mapping[str, str] = MappingProxyType({})


DAMAGED = "invalid damaged_id"
CASES = {
    "numbers in scientific notation": Case(
        "course_id,user_id,role,status\n"
        "MATH-101,4.71101E+11,student,active\n"
        "MATH-101,4.71101E+11,student,active\n"
        'MATH-101,"4,71101E+11",student,active\n',
        [DAMAGED] * 3,
        "canvas",
    ),
    "words for nothing": Case(
        "student_no,user,course_id\n1,NULL,{{C1}}\n2,null,{{C1}}\n3,(null),{{C1}}\n4,\\N,{{C1}}\n",
        [DAMAGED] * 4,
    ),
    "more words for nothing": Case(
        "user,course_id\nNone,{{C1}}\nnan,{{C1}}\nNaN,{{C1}}\n#N/A,{{C1}}\n-,{{C1}}\n"
        "4711.0,{{C1}}\n#REF!,{{C1}}\n4.71101e11,{{C1}}\n",
        [DAMAGED] * 8,
    ),
    "a line sep=": Case(
        "sep=;\r\nuser;course_id\r\nemil{{T}};{{C1}}\r\n", ["enrolled"], users=["emil{{T}}"]
    ),
    "a line sep= in UTF-8 with a mark": Case(
        '\ufeffsep=;\r\nuser;course_id\r\n"emil{{T}}";{{C1}}\r\n\x1a', ["enrolled"]
    ),
    "a footer of Blackboard": Case(
        f"{BLACKBOARD}***FileFooter|2|17:35:21 09/01/2026\r\n",
        ["enrolled"] * 2,
        "blackboard",
        ["fay{{T}}", "gus{{T}}"],
    ),
    "the same, all or nothing": Case(
        f"{BLACKBOARD}***FileFooter|2|17:35:21 09/01/2026\r\n\r\n",
        ["enrolled"] * 2,
        "blackboard",
        options={"on_error": "abort"},
    ),
    "statuses of Canvas's provisioning report": Case(
        f"{PROVISIONING}"
        "11,MATH-101,21,hal{{T}},student,3,31,MATH-101.A,invited,,,true,StudentEnrollment\n"
        "11,MATH-101,22,ida{{T}},student,3,31,MATH-101.A,concluded,,,true,StudentEnrollment\n"
        "11,MATH-101,23,jan{{T}},student,3,31,MATH-101.A,rejected,,,true,StudentEnrollment\n",
        ["skipped status_not_applicable"] * 3,
        "canvas",
    ),
    "one column, and the course beside it": Case(
        "email\nmia{{T}}@example.org\n",
        ["enrolled"],
        users=["mia{{T}}"],
        learners=(("mia{{T}}", "mia{{T}}@example.org"),),
        options={"course_id": "{{C1}}"},
    ),
    "one column of usernames": Case(
        "user\nmax{{T}}\n", ["enrolled"], users=["max{{T}}"], options={"course_id": "{{C1}}"}
    ),
    "Clever's columns": Case(
        "School_id,Student_id,Section_id\n13K,ned{{T}},MATH-101\n",
        ["enrolled"],
        "clever",
        ["ned{{T}}"],
    ),
    "usernames of Moodle in two cases": Case(
        "username,firstname,lastname,email,course1\n"
        "Oda{{T}},Oda,Lind,oda{{T}}@example.org,MATH-101\n"
        "oda{{T}},Oda,Lind,oda{{T}}@example.org,MATH-101\n",
        ["enrolled", "unchanged"],
        "moodle_users",
        ["oda{{T}}"] * 2,
    ),
    "an e-mail with a combining accent": Case(
        "email,course_id\nju\u0308rgen{{T}}@example.org,{{C1}}\n",
        ["enrolled"],
        users=["jurgen{{T}}"],
        learners=(("jurgen{{T}}", "j\u00fcrgen{{T}}@example.org"),),
    ),
    "a username with a combining accent": Case(
        "user,course_id\nju\u0308rgen{{T}},{{C1}}\nj\u00fcrgen{{T}},{{C1}}\n",
        ["enrolled", "unchanged"],
        users=["j\u00fcrgen{{T}}"] * 2,
    ),
    "commas inside cells": Case(
        'user;course_id;name\npia{{T}};{{C1}};"Berg, Pia; PhD"\n'
        "quin{{T}};{{C1}};Holm, Quin\nrex{{T}};{{C1}};a,b,c,d\n",
        ["enrolled"] * 3,
        users=["pia{{T}}", "quin{{T}}", "rex{{T}}"],
    ),
    "ids after a unit separator and a tab": Case(
        'user,course_id\n\x1f00{{T}},{{C1}}\n"\t00{{T}}",{{C1}}\n',
        ["enrolled", "unchanged"],
        users=["00{{T}}"] * 2,
    ),
    "ids kept as text": Case(
        'user,course_id\n\'0012{{T}},{{C1}}\n"=""0013{{T}}""",{{C1}}\n',
        ["enrolled"] * 2,
        users=["0012{{T}}", "0013{{T}}"],
    ),
    "a row about two people": Case(
        "user,email,course_id\numa{{T}},vera{{T}}@example.org,{{C1}}\n",
        ["invalid contradiction"],
        learners=(
            ("uma{{T}}", "uma{{T}}@example.org"),
            ("vera{{T}}", "vera{{T}}@example.org"),
        ),
    ),
    "dates of OneRoster": Case(
        f"{ONEROSTER}e1,,,CLS1,sch1,wim{{{{T}}}},student,,2024-09-01,2025-01-31\n"
        "e2,,,CLS1,sch1,xia{{T}},student,,2099-09-01,2100-01-31\n",
        ["skipped not_current"] * 2,
        "oneroster",
    ),
    "dates of Canvas": Case(
        "course_id,user_id,role,status,start_date,end_date\n"
        "MATH-101,wim{{T}},student,active,2024-09-01T00:00:00Z,2025-01-31T00:00:00Z\n"
        "MATH-101,xia{{T}},student,active,2099-09-01T00:00:00Z,\n",
        ["skipped not_current"] * 2,
        "canvas",
    ),
    "dates of Moodle's flat file": Case(
        "add, student, wim{{T}}, MATH-101, 1725148800, 1738281600\n"
        "add, student, xia{{T}}, MATH-101, 4092595200, 0\n",
        ["skipped not_current"] * 2,
        "moodle_flat",
    ),
    "spaces before quotes": Case(
        'user, course_id, name\nyan{{T}}, "{{C1}}", "Yan, of Berg"\n',
        ["enrolled"],
        users=["yan{{T}}"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_file_has_its_outcomes_rehearsed_and_real(field, case):
    for username, email in case.learners:
        field.learner(username, email)

    rehearsed = field.send(case.file, dry_run="true", **case.options)
    sent = field.send(case.file, **case.options)

    assert rehearsed.said == sent.said == case.outcomes
    assert sent.submission["format"] == case.format
    named = [row["user"] for row in sent.outcomes]
    if case.users is not None:
        assert named == [field.fill(user) for user in case.users]
    result = "failed" if case.outcomes[0].startswith("invalid") else "succeeded"
    assert (rehearsed.submission["result"], sent.submission["result"]) == (result, result)
    for user in named if "enrolled" in case.outcomes else []:
        assert field.is_enrolled(user)


def test_rows_about_assistants_withdraw_nobody(field):
    head = "course_id,user_id,role,status\n"
    before = field.send(f"{head}MATH-101,sue{{{{T}}}},student,active\n")

    sent = field.send(
        f"{head}MATH-101,sue{{{{T}}}},ta,active\nMATH-101,sue{{{{T}}}},ta,deleted\n"
        "MATH-101,sue{{T}},teacher,inactive\n"
    )

    assert before.said == ["enrolled"]
    assert sent.said == ["skipped role_not_learner"] * 3
    assert field.is_enrolled("sue{{T}}")


def test_a_header_in_another_language_is_refused_with_advice(field):
    answer = field.post(UNKNOWN_HEADER)

    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "unknown_columns"
    assert "the first line is taken for the header" in problem["detail"]
    assert "Ism;Familiya;Pochta" in problem["detail"]


@pytest.mark.parametrize("shift", range(4))
def test_letters_on_the_borders_of_chunks_stay_whole(field, shift):
    """Letters of two, three and four bytes, in a long file and in chunks of one byte."""
    names = ["j\u00fcrgen", "\u6f22\u5b57", "\u00e5sa"]
    users = [f"{names[n % 3]}{{{{T}}}}{n}" for n in range(900)]
    cell = "\u6f22\U0001f393\u00fc" * 30
    rows = [f"{user},{{{{C1}}}},{cell}" for user in users]
    text = field.fill("\n".join([f"user,course_id,{'n' * (shift + 1)}ame", *rows]) + "\n")

    sent = field.send(text)

    assert [row["user"] for row in sent.outcomes] == [field.fill(user) for user in users]
    assert set(sent.said) == {"enrolled"}
    path = f"/submissions/{sent.submission['submission_id']}/outcomes"
    result = field.http.get(path, headers={"Accept": "text/csv"}, params={"bom": "false"})
    assert result.text.count(f",{cell},enrolled,") == len(users)


def test_a_file_may_arrive_byte_by_byte(field):
    text = field.fill("user,course_id\nj\u00fcrgen{{T}},{{C1}}\n").encode()

    answer = field.http.post(
        "/submissions",
        content=(text[at : at + 1] for at in range(len(text))),
        headers={"Content-Type": "text/csv"},
    )

    assert answer.status_code == 202
    assert ended(field.http, answer.json()["submission_id"])["result"] == "succeeded"
    assert field.is_enrolled("j\u00fcrgen{{T}}")
