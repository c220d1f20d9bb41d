"""What the pages on the API and on courses show runs, from top to bottom, on a new stack."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.documented import DOCS, commands_of
from tests.support.service_processes import ENROLL, PATIENCE, bare, needs_proc

pytestmark = [
    needs_proc,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl"),
]

#: `curl` fails for errors, but for a cancellation that comes too late, a stream that it leaves, and
#: a delivery to an LMS that there is not yet; `enroll` is this one.
PRELUDE = """
set -euo pipefail
curl() {{
    command curl -sS --fail-with-body "$@" || case "$*" in */cancel* | *--max-time* | */lms/deliveries/1/retry*) ;; *) echo "$*"; return 1;; esac
}}
enroll() {{ {enroll} "$@"; }}
"""


@pytest.fixture
def run(stack, tmp_path):
    """Runs the commands of a page in the folder of a new stack, as if it listened on port 8000."""
    up = stack()
    (tmp_path / ".enroll").symlink_to(up.data)

    def run_lines(lines):
        script = PRELUDE.format(enroll=" ".join(ENROLL)) + "\n".join(lines)
        environment = {"ENROLL_URL": up.url, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            ["bash", "-c", script.replace("http://127.0.0.1:8000", up.url)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=bare(**environment),
            timeout=2 * PATIENCE,
            check=False,
        )

    return run_lines


@pytest.mark.parametrize("page", ["api.md", "courses.md"])
def test_the_commands_of_a_page_work(run, page):
    done = run(commands_of(page))

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Traceback" not in done.stderr
    if page == "courses.md":
        text = (DOCS / page).read_text()
        shown = text[text.index("1 course: 1 changed.") :].partition("```")[0]
        assert shown in done.stdout


def test_what_the_command_line_prints_is_loaded_back(run, tmp_path):
    """Everything that `list`, `show` and GET print changes nothing when it is loaded."""
    done = run(
        [
            *commands_of("courses.md"),
            "enroll courses list --json > all.json",
            "enroll courses load --json all.json > report1",
            "enroll courses load --replace all.json",
            "enroll courses list | enroll courses load - --json > report2",
            "enroll courses show course-v1:DemoX+ALG+2027 | enroll courses load - --json > report3",
            'curl "$API/courses?limit=2" -H "$KEY" | enroll courses load - --json > report4',
            "enroll courses list --json > again.json",
            "cmp all.json again.json",
        ]
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    reports = [json.loads((tmp_path / f"report{number}").read_text()) for number in range(1, 5)]
    assert [report["unchanged"] for report in reports] == [3, 3, 1, 2]
    assert all(not report["created"] and not report["changed"] for report in reports)


def test_one_enrollment_is_made_and_ended(run):
    course = "course-v1:DemoX+ONE+2027"
    done = run(
        [
            f"""echo '{{"course_id": "{course}", "capacity": 1}}' | enroll courses load -""",
            f"enroll enrollments enroll ada {course}",
            f"enroll enrollments enroll bob {course} || echo code $?",
            f"enroll enrollments unenroll ada {course}",
            f"enroll enrollments list --course-id {course}",
            f"enroll enrollments show ada {course} | grep is_active",
            "enroll submissions list --limit 1 | cut -f 3,4",
        ]
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[2:5] == [
        f"ada, {course}: enrolled (audit).",
        (
            f"bob, {course}: refused. course_full. All seats are taken (capacity 1): "
            "raise the capacity, or wait for a free seat."
        ),
        "code 1",
    ]
    assert f"ada\t{course}\taudit\tfalse\t" in done.stdout
    assert done.stdout.endswith('  "is_active": false,\nstate\tresult\ndone\tsucceeded\n')
