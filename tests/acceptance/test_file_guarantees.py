"""What is promised of a file whose rows fail: some of them, all of them, or one that all hang on."""

import re

import pytest

from api_gateway.cli.progress import format_bytes
from tests.support.row_counts import row_counts
from tests.support.service_processes import ended, needs_proc, open_course

pytestmark = [
    needs_proc,
    pytest.mark.parametrize("whole", ["postgresql-1"], indirect=True, scope="module"),
]

MANY, EACH_FAILS = 20_000, 100
SEVERAL_BATCHES, ATOMIC = 2_500, 10_000
NOWHERE = "course-v1:No+Such+Course"
HEADS = {
    "canvas": "course_id,user_id,role,section_id,status",
    "oneroster": "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role",
}
ROWS = {
    "canvas": "{course},{user},student,,{status}",
    "oneroster": 'e{number},{status},2026-09-01,{course},"School, the first",{user},student',
}


def make_course(http, word):
    course = f"course-v1:Files+{word}+2026"
    made = http.put(f"/courses/{course}", json=open_course(course))
    assert made.status_code == 201, made.text
    return course


def foreign_file(form, course):
    """Of every hundred rows one names a course that is not, and one has a misspelt word."""
    yield HEADS[form]
    for number in range(MANY):
        yield ROWS[form].format(
            number=number,
            user=f"{form}{number}",
            course=NOWHERE if number % EACH_FAILS == 1 else course,
            status="actve" if number % EACH_FAILS == 2 else "active",
        )


@pytest.mark.parametrize("form", HEADS)
def test_failed_rows_of_a_foreign_file_are_saved_mended_and_sent_again_as_they_are(
    whole, tmp_path, form
):
    with whole.up.http() as http:
        course = make_course(http, form)
    file, failed, still = (tmp_path / name for name in ("term.csv", "mend.csv", "still.csv"))
    file.write_text("\r\n".join(foreign_file(form, course)) + "\r\n")
    size, fails = file.stat().st_size, MANY // EACH_FAILS

    first = whole.up.enroll("submit", file, "--failed-to", failed)
    rows = failed.read_bytes()
    failed.write_bytes(mended(rows, course))
    second = whole.up.enroll("submit", failed, "--failed-to", still)

    assert (first.returncode, second.returncode) == (1, 0), first.stderr + second.stderr
    assert f"sent: {format_bytes(size)} of {format_bytes(size)}" in first.stderr
    assert seen(first) == sorted(seen(first))
    assert (seen(first)[-1], seen(second)[-1]) == (MANY, 2 * fails)
    assert told(first) == {
        "done, partial": 0,
        "total": MANY,
        "enrolled": MANY - 2 * fails,
        **dict.fromkeys(["refused", "invalid", "  course_not_found", "  invalid_row"], fails),
    }
    head, *_ = rows.splitlines(keepends=True)
    assert head.decode("utf-8-sig") == f"{HEADS[form]},outcome,reason,message\r\n"
    assert told(second) == {"done, succeeded": 0, "total": 2 * fails, "enrolled": 2 * fails}
    assert still.read_bytes() == head
    assert row_counts(whole.database_url, course)[:3] == (MANY,) * 3


def mended(rows, course):
    """What failed, with what was wrong put right and all else as it is."""
    return rows.replace(NOWHERE.encode(), course.encode()).replace(b"actve", b"active")


def seen(done):
    """How many rows were answered each time that progress was shown."""
    lines = re.findall(r"^rows: ([\d,]+) of", done.stderr, re.MULTILINE)
    return [int(number.replace(",", "")) for number in lines]


def told(done):
    """What the command says at its end, with the numbers behind it."""
    lines = (line.partition("\t") for line in done.stdout.splitlines())
    return {name: int(number or 0) for name, _, number in lines}


@pytest.mark.parametrize(
    ("good", "result", "code"),
    [(0, "failed", 1), (1, "partial", 1), (SEVERAL_BATCHES, "succeeded", 0)],
)
def test_a_file_failed_when_every_row_did(whole, tmp_path, good, result, code):
    with whole.up.http() as http:
        course = make_course(http, f"good{good}")
        bad = SEVERAL_BATCHES - good
        rows = [f"good{good}x{n},{NOWHERE if n % 2 else 'nonsense'}" for n in range(bad)]
        rows += [f"good{good}y{n},{course}" for n in range(good)]
        before = row_counts(whole.database_url)

        submission_id, done = hand_in(http, rows)
        after = row_counts(whole.database_url)

    assert (done["state"], done["result"]) == ("done", result)
    counts = done["counts"]
    assert counts["refused"] + counts["invalid"] == bad
    assert (counts["total"], counts["enrolled"], counts["pending"]) == (SEVERAL_BATCHES, good, 0)
    assert whole.up.enroll("status", submission_id).returncode == code
    assert after == tuple(number + good for number in before)


@pytest.mark.parametrize(
    ("bad", "reason", "counts"),
    [
        pytest.param(NOWHERE, "course_not_found", {"refused": ATOMIC}, id="refused"),
        pytest.param(
            "nonsense", "invalid_row", {"refused": ATOMIC - 1, "invalid": 1}, id="invalid"
        ),
    ],
)
def test_one_bad_row_at_the_end_of_an_atomic_file_leaves_everything_as_it_was(
    whole, bad, reason, counts
):
    with whole.up.http() as http:
        course = make_course(http, f"atomic-{reason}")
        good = [f"atomic-{reason}-{n},{course}" for n in range(ATOMIC)]
        before = row_counts(whole.database_url)

        _, refused = hand_in(http, [*good[:-1], f"atomic-{reason}-last,{bad}"], on_error="abort")
        feed = http.get("/changes", params={"since": before.feed}).json()
        left = row_counts(whole.database_url)
        _, again = hand_in(http, good, on_error="abort")

    assert (refused["state"], refused["result"]) == ("done", "failed")
    assert {name: number for name, number in refused["counts"].items() if number} == {
        "total": ATOMIC,
        **counts,
    }
    assert refused["reasons"] == {"aborted": ATOMIC - 1, reason: 1}
    assert feed == {"changes": [], "next": before.feed}
    assert left == before
    assert (again["result"], again["counts"]["enrolled"]) == ("succeeded", ATOMIC)
    assert row_counts(whole.database_url) == tuple(number + ATOMIC for number in before)


def hand_in(http, rows, **options):
    """The id of a file's submission, and what became of it."""
    content = "\n".join(["user,course_id", *rows])
    headers = {"Content-Type": "text/csv"}
    taken = http.post("/submissions", content=content, headers=headers, params=options)
    assert taken.status_code == 202, taken.text
    submission_id = taken.json()["submission_id"]
    return submission_id, ended(http, submission_id)
