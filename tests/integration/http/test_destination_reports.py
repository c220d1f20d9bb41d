"""Jobs at destinations over HTTP: begun once, followed, and read as JSON and CSV."""

from uuid import UUID

import pytest

from enrollment.domain.destinations.differences import Difference, DifferenceKind
from enrollment.domain.destinations.reports import ReportedDifference
from enrollment.storage.destinations import reports
from tests.support.gateway import fresh

MEMBERS = {"kind": "openedx", "url": "https://lms.example.org", "auth": {"api_key": "k"}}
COURSE = "course-v1:A+B+C"
EXTRA = {
    "mode_here": None,
    "is_active_here": None,
    "mode_there": "audit",
    "is_active_there": True,
}


@pytest.fixture
def path(gateway):
    made = f"destinations/{fresh('lms')}"
    assert gateway.call("PUT", made, gateway.admin, json=MEMBERS).status_code == 201
    return made


def found(number, user):
    difference = Difference(DifferenceKind.EXTRA_THERE, COURSE, user, **EXTRA)
    return ReportedDifference(number, difference, is_queued=False)


def test_a_job_that_waits_is_begun_once(gateway, path):
    first = gateway.post(f"{path}/reconcile?apply=true", gateway.admin)
    assert first.status_code == 202
    assert (first.json["state"], first.json["applied"]) == ("queued", True)
    assert first.headers["Location"] == first.json["links"]["self"]
    again = gateway.post(f"{path}/reconcile?apply=true", gateway.admin)
    assert again.json["id"] == first.json["id"]
    others = [
        gateway.post(f"{path}/{job}", gateway.admin).json for job in ("reconcile", "pull", "import")
    ]
    assert [each["kind"] for each in others] == ["reconcile", "pull", "import"]
    assert len({first.json["id"], *(each["id"] for each in others)}) == 4


def test_differences_are_read_in_pages_and_as_csv(alone):
    path = "destinations/lms"
    alone.call("PUT", path, alone.admin, json=MEMBERS)
    made = alone.post(f"{path}/reconcile", alone.admin).json
    with alone.sessions.begin() as session:
        rows = [found(1, "ada"), found(2, "=cmd"), found(3, "eve")]
        reports.add_differences(session, UUID(made["id"]), rows)
    report = f"{path}/reports/{made['id']}"
    page = alone.get(f"{report}?limit=2", alone.admin).json
    assert [each["user"] for each in page["differences"]] == ["ada", "=cmd"]
    rest = alone.get(f"{report}?limit=2&cursor={page['next']}", alone.admin).json
    assert ([each["user"] for each in rest["differences"]], rest["next"]) == (["eve"], None)
    file = alone.get(report, {**alone.admin, "Accept": "text/csv"})
    lines = file.text.removeprefix("\ufeff").splitlines()
    assert lines[0].startswith("difference,user,course_id")
    assert lines[2] == f"extra_there,'=cmd,{COURSE},,,audit,true,false"
    assert len(lines) == 4


@pytest.mark.parametrize("report", ["x", "01900000-0000-7000-8000-000000000000"])
def test_no_such_report(gateway, path, report):
    assert gateway.get(f"{path}/reports/{report}", gateway.admin).status_code == 404
