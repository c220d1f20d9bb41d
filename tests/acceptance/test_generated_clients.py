"""Clients that are generated from /openapi.json compile, and use a service.

Only types of bodies that `openapi-python-client` does not know (NDJSON, ZIP) are left out of its
client; it takes CSV as a file if it is told so (docs/api.md has the same configuration).
"""

import re
import shutil
import sys

import httpx
import pytest

from tests.acceptance.conftest import running
from tests.support.documented import DOCS
from tests.support.generators import SOURCES, node_environment, python_environment
from tests.support.packages import run, run_well
from tests.support.service_processes import needs_proc

pytestmark = [needs_proc, pytest.mark.slow]

#: Imports every module of the client, then uses it.
USE_PYTHON_CLIENT = """
import importlib
import pkgutil
import sys
from io import BytesIO

import enrollment_client
from enrollment_client import AuthenticatedClient
from enrollment_client.api.courses import patch_course, put_course
from enrollment_client.api.enrollments import ask_enrollment, get_enrollment
from enrollment_client.api.submissions import (
    bulk_enroll,
    follow_submission,
    get_submission,
    list_outcomes,
    submit,
)
from enrollment_client.models import (
    BulkEnrollAnswer,
    BulkEnrollRequest,
    BulkEnrollRequestAction,
    CourseMembers,
    CourseMode,
    CourseReference,
    Enrollment,
    EnrollmentRequest,
    EnrollmentRequestList,
    KeptCourse,
    OutcomePage,
    Problem,
    Submission,
    SubmissionResultType0,
)
from enrollment_client.types import File

modules = [one.name for one in pkgutil.walk_packages(enrollment_client.__path__, "enrollment_client.")]
for name in modules:
    importlib.import_module(name)

course_id = "course-v1:Uni+PYC101+2026"
client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])

members = CourseMembers(course_name="Types", capacity=1, course_modes=[CourseMode(slug="audit")])
course = put_course.sync(course_id, client=client, body=members)
assert isinstance(course, KeptCourse) and course.capacity == 1, course
course = patch_course.sync(course_id, client=client, body=CourseMembers(capacity=5))
assert isinstance(course, KeptCourse), course
assert (course.capacity, course.course_name) == (5, "Types"), course

request = EnrollmentRequest(user="ada", course_details=CourseReference(course_id), mode="audit")
enrollment = ask_enrollment.sync(client=client, body=request, prefer="wait=30")
assert isinstance(enrollment, Enrollment) and enrollment.is_active, enrollment
same = get_enrollment.sync("ada", course_id, client=client)
assert isinstance(same, Enrollment) and same.mode == "audit", same

wrong = ask_enrollment.sync(client=client, body=EnrollmentRequest(user="ada", course_id="none"))
assert isinstance(wrong, Problem) and wrong.code == "invalid_row", wrong

listed = EnrollmentRequestList([EnrollmentRequest(user="bob", course_id=course_id)])
csv = File(payload=BytesIO(f"user,course_id\\ncat,{course_id}\\n".encode()))
for body in (listed, csv):
    submission = submit.sync(client=client, body=body)
    assert isinstance(submission, Submission), submission
    done = get_submission.sync(submission.submission_id, client=client, prefer="wait=30")
    assert isinstance(done, Submission), done
    assert done.result == SubmissionResultType0.SUCCEEDED, done
    page = list_outcomes.sync(submission.submission_id, client=client)
    assert isinstance(page, OutcomePage), page
    assert [one.outcome.value for one in page.outcomes] == ["enrolled"], page
    events = follow_submission.sync(submission.submission_id, client=client)
    assert isinstance(events, str) and "event: done" in events, events

several = BulkEnrollRequest(
    action=BulkEnrollRequestAction.ENROLL, identifiers="dan, eve", courses=course_id
)
answer = bulk_enroll.sync(client=client, body=several)
assert isinstance(answer, BulkEnrollAnswer), answer
assert len(answer.courses[course_id].results) == 2, answer
print("used", len(modules))
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with running(tmp_path_factory.mktemp("generated")) as stack:
        yield stack


@pytest.fixture
def described(up, tmp_path):
    """A file with the document of the service."""
    path = tmp_path / "openapi.json"
    path.write_bytes(httpx.get(f"{up.url}/openapi.json").raise_for_status().content)
    return path


def shown_on_the_page(heading):
    """Returns the block that docs/api.md shows below a line."""
    return re.search(rf"{heading}.*?```\w*\n(.*?)```", (DOCS / "api.md").read_text(), re.DOTALL)[1]


def test_a_python_client(up, described, tmp_path):
    environment = python_environment()
    (tmp_path / "client.yml").write_text(shown_on_the_page(r"`client\.yml`"))
    package = tmp_path / "enrollment_client"
    generate = [environment / "bin/openapi-python-client", "generate", "--meta", "none"]
    options = ["--path", described, "--output-path", package, "--config", "client.yml"]
    path = {"PATH": f"{environment / 'bin'}:/usr/bin:/bin"}  # it formats with its own ruff

    generated = run([*generate, *options], folder=tmp_path, environment=path)

    said = generated.stdout + generated.stderr
    assert generated.returncode == 0, said
    kinds = set(re.findall(r"Unsupported content type (\S+)", said))
    assert kinds == {"application/x-ndjson", "text/plain", "application/zip"}
    assert said.count("WARNING") == said.count("Unsupported content type"), said
    (tmp_path / "use_client.py").write_text(USE_PYTHON_CLIENT)
    run_well([environment / "bin/python", "-m", "compileall", "-q", package], folder=tmp_path)
    check = [sys.executable, "-m", "mypy", "--python-executable", environment / "bin/python"]
    # models have members of the names of their own classes, which only mypy minds
    checked = ["--follow-imports", "silent", "use_client.py", package / "api"]
    run_well([*check, *checked], folder=tmp_path)
    used = run([environment / "bin/python", "use_client.py", up.url, up.key()], folder=tmp_path)
    assert used.returncode == 0, used.stderr
    assert int(used.stdout.removeprefix("used ")) > 150  # modules


def test_a_typescript_client(up, described, tmp_path):
    environment = node_environment()
    (tmp_path / "node_modules").symlink_to(environment / "node_modules")
    for name in ("package.json", "tsconfig.json", "use_client.ts"):
        shutil.copy(SOURCES / name, tmp_path)

    run_well(
        ["node_modules/.bin/openapi-typescript", described, "-o", "schema.ts"], folder=tmp_path
    )
    run_well(["node_modules/.bin/tsc"], folder=tmp_path)
    used = run(["node", "out/use_client.js", up.url, up.key()], folder=tmp_path)

    assert used.returncode == 0, used.stderr
    assert used.stdout == "used enrollment.created\n"
