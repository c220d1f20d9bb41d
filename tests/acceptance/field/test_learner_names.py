"""E-mails and usernames as people paste them: on no way in they become somebody else."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from tests.support.service_processes import needs_proc

pytestmark = needs_proc

INVISIBLE = "invisible_character"
C1 = "course-v1:Field+ONE+2026"
#: Zero-width space, joiners, direction signs, byte order mark, soft hyphen, word joiner.
SIGNS = ["\u200b", "\u200d", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u2060"]
NO_ADDRESSES = [
    "dora{{T}}@example.org.",
    "dora{{T}}@example..org",
    ".dora{{T}}@example.org",
    "'dora{{T}}@example.org'",
    "dora{{T}}@-example.org",
]


@pytest.fixture
def cleo(field):
    """The e-mail of a known learner."""
    field.learner("cleo{{T}}", "cleo{{T}}@example.org")
    return field.fill("cleo{{T}}@example.org")


def invitation(field, email):
    return field.http.get(f"/invitations/{C1}/{quote(email)}").status_code


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_a_pasted_email_invites_nobody(field, cleo, sign):
    for pasted in (cleo + sign, cleo.replace("@", f"{sign}@")):
        (result,) = field.bulk_enroll(pasted)
        known = field.is_enrolled("cleo{{T}}")

        assert result == {"identifier": pasted, "invalidIdentifier": True} or known, ascii(result)
    assert invitation(field, cleo + sign) in {400, 404}


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
@pytest.mark.parametrize("column", ["user", "email"])
def test_a_pasted_name_is_invalid_in_a_row(field, cleo, column, sign):
    middle = cleo.replace("@", f"{sign}@") if column == "email" else f"cl{sign}eo{{{{T}}}}"

    in_csv = field.send(f"{column},course_id\n{middle},{{{{C1}}}}\n")
    in_json = field.send(
        f'{{"{column}":"{middle}","course_id":"{{{{C1}}}}"}}', "application/x-ndjson"
    )

    assert in_csv.said == in_json.said == [f"invalid {INVISIBLE}"]


def test_a_pasted_name_is_refused_wherever_it_is_sent(field, cleo):
    pasted, name = f"{cleo}\u200b", field.fill("cleo{{T}}\u200b")
    entry = {"kind": "learner", "theirs": "x", "ours": name}
    answers = [
        field.enroll(email=pasted),
        field.enroll(user=name),
        field.http.put(field.fill("/learners/eli{{T}}"), json={"email": pasted}),
        field.http.put(f"/learners/{quote(name)}", json={}),
        field.http.post("/learners", json=[{"username": field.fill("eli{{T}}"), "email": pasted}]),
        field.http.put(f"/invitations/{C1}/{quote(pasted)}", json={}),
        field.http.post("/enrollment_allowed/", json={"email": pasted, "course_id": C1}),
        field.http.patch("/crosswalks/canvas", json=[entry]),
        field.http.put(f"/roles/{C1}/{quote(name)}", json={"role": "staff"}),
    ]

    assert {answer.status_code for answer in answers} <= {400, 404}
    assert invitation(field, pasted) == 400
    assert field.http.get(field.fill("/learners/eli{{T}}")).status_code == 404


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_becomes_no_invitation(field, address):
    (result,) = field.bulk_enroll(address)
    row = field.send(f"email,course_id\n{address},{{{{C1}}}}\n")

    assert result == {"identifier": field.fill(address), "invalidIdentifier": True}
    assert row.said[0].split()[0] == "invalid"
    assert field.enroll(email=field.fill(address)).status_code == 400
    assert invitation(field, field.fill(address)) == 400


def test_pasted_lines_are_read_as_a_list(field):
    for name in ("zoe", "adam"):
        field.learner(f"{name}{{{{T}}}}", f"{name}{{{{T}}}}@example.org")
    pasted = "zoe{{T}}@example.org\nadam{{T}}@example.org\r\n\r\n  zoe{{T}}@example.org  ,"

    results = field.bulk_enroll(pasted)

    assert [result["identifier"] for result in results] == [
        field.fill(f"{name}{{{{T}}}}@example.org") for name in ("zoe", "adam", "zoe")
    ]
    assert [result["before"]["enrollment"] for result in results] == [False, False, True]
    assert all(result["after"]["enrollment"] for result in results)


def test_of_one_request_the_username_alone_counts_as_in_open_edx(field):
    for name in ("uma", "vera"):
        field.learner(f"{name}{{{{T}}}}", f"{name}{{{{T}}}}@example.org")

    answer = field.enroll(user=field.fill("uma{{T}}"), email=field.fill("vera{{T}}@example.org"))

    assert answer.status_code == 200
    assert field.is_enrolled("uma{{T}}")
    assert field.is_enrolled("vera{{T}}") is None


def test_an_email_in_another_unicode_form_is_the_same_learner(field):
    field.learner("jurgen{{T}}", "j\u00fcrgen{{T}}@example.org")

    answer = field.enroll(email=field.fill("ju\u0308rgen{{T}}@example.org"))
    (listed,) = field.bulk_enroll("ju\u0308rgen{{T}}@example.org")

    assert answer.json()["user"] == field.fill("jurgen{{T}}")
    assert (
        listed["before"]
        == listed["after"]
        == {
            "user": True,
            "enrollment": True,
            "allowed": False,
            "auto_enroll": False,
        }
    )


@pytest.mark.parametrize(("ahead", "status"), [(-3, 200), (3, 200), (6, 400)])
def test_a_clock_may_be_a_little_ahead(field, ahead, status):
    stated = (datetime.now(UTC) + timedelta(seconds=ahead)).isoformat()

    answer = field.enroll(user=field.fill("gus{{T}}"), requested_at=stated)

    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.json()["errors"][0]["rule"] == "in_the_future"
