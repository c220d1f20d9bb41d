"""A file in the console: its plan, its confirmation, progress, result, and the mended file."""

import io
import re
import zipfile

import pytest

from tests.support.console_browser import logged_in
from tests.support.console_files import enrolled, planned, rows, tile
from tests.support.gateway import AUDIT, fresh

WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def test_a_plan_shows_what_would_happen_and_changes_nothing(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("user")
    _, page = planned(gateway, registrar, rows(f"{user},{course_id},x", f"b,{course_id}x,y", "!,,"))

    assert "Nothing has changed yet" in page
    assert (tile(page, "enrolled"), tile(page, "refused") + tile(page, "invalid")) == (1, 2)
    assert "There is no course" in page
    assert "Columns that are not read: <bdi>note</bdi>" in page
    assert "Read as columns of this service" in page
    assert "<bdi><code>user</code></bdi> username" in page
    assert f">{course_id}</a></th>" in page
    assert not enrolled(gateway, user, course_id)


def test_a_plan_is_applied_once(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("user")
    path, _ = planned(gateway, registrar, rows(f"{user},{course_id},x", f"b,{course_id}x,y"))
    first, second = registrar.send(f"{path}/apply"), registrar.send(f"{path}/apply")

    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"] != path
    gateway.work()
    result = registrar.get(first.headers["location"]).text
    assert enrolled(gateway, user, course_id)
    assert (tile(result, "enrolled"), tile(result, "refused")) == (1, 1)
    assert path in result, "the result names its plan"
    assert first.headers["location"] in registrar.get(path).text


def test_many_batches_are_applied_in_their_order(small):
    gateway = small(batch_rows="10")
    registrar = logged_in(gateway, gateway.key("enroll", "read", name="registrar"))
    course_id = gateway.course(AUDIT, capacity=205)
    users = [f"u{number:03}" for number in range(210)]
    path, page = planned(gateway, registrar, rows(*(f"{user},{course_id},x" for user in users)))
    assert (tile(page, "enrolled"), tile(page, "refused")) == (205, 5)
    sent = registrar.send(f"{path}/apply")
    gateway.work()
    result = registrar.get(sent.headers["location"]).text

    assert (tile(result, "enrolled"), tile(result, "refused")) == (205, 5)
    failed = registrar.get(
        f"{sent.headers['location']}/outcomes.csv", params={"outcome": "refused"}
    )
    assert [line.partition(",")[0] for line in failed.text.splitlines()[1:]] == users[205:]
    assert failed.text.splitlines()[1].split(",")[:3] == ["u205", course_id, "x"]


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv"])
def test_every_form_of_a_file_can_be_applied(gateway, registrar, kind):
    course_id, user = gateway.course(AUDIT), fresh("user")
    one = f'{{"user": "{user}", "course_id": "{course_id}"}}'
    content = {"json": f"[{one}]", "ndjson": f"{one}\n", "csv": rows(f"{user},{course_id},x")}[kind]
    path, page = planned(gateway, registrar, content, name=f"file.{kind}")
    assert ("Read as" in page) is (kind == "csv"), "only a table has columns"
    sent = registrar.send(f"{path}/apply")
    gateway.work()

    assert sent.status_code == 303
    assert enrolled(gateway, user, course_id)


def test_an_archive_is_applied_with_its_files(gateway, registrar):
    course_id, users = gateway.course(AUDIT), [fresh("user") for _ in range(3)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.csv", rows(f"{users[0]},{course_id},x", f"{users[1]},{course_id},x"))
        archive.writestr("two.csv", f"course_id,user\n{course_id},{users[2]}\n{course_id},!!\n")
        archive.writestr("__MACOSX/._one.csv", b"x")
    path, page = planned(gateway, registrar, packed.getvalue(), name="files.zip")
    assert "2 files of the archive" in page
    assert f"{path}/outcomes.csv?file=two.csv&amp;outcome=refused,invalid" in page
    sent = registrar.send(f"{path}/apply")
    gateway.work()
    ids = [each.rpartition("/")[2] for each in (path, sent.headers["location"])]
    plan, applied = (gateway.get(f"submissions/{id_}", gateway.admin).json for id_ in ids)

    assert all(enrolled(gateway, user, course_id) for user in users)
    for member in ("files", "counts", "format", "ignored_columns", "reasons"):
        assert applied[member] == plan[member]
    chosen = {"file": "two.csv", "outcome": "refused,invalid"}
    failed = registrar.get(f"{sent.headers['location']}/outcomes.csv", params=chosen)
    assert failed.text.splitlines()[1].startswith(f"{course_id},!!,invalid")


def test_a_plan_says_how_the_columns_of_another_system_are_read(gateway, registrar):
    content = f"course_id,user_id,role,section_id,status\nC,{fresh('u')},student,s1,active\n"
    _, page = planned(gateway, registrar, content)

    assert "Read as Canvas SIS enrollments.csv" in page
    for column, meaning in (("user_id", "username"), ("status", "enrolled or withdrawn")):
        assert f"<bdi><code>{column}</code></bdi> {meaning}" in page
    assert '<a href="/console/crosswalks/canvas">canvas</a>' in page
    assert "/console/courses/C" not in page, "it is no id of ours"


def test_records_of_another_system_that_end_are_applied_as_planned(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("user")
    gateway.enroll(gateway.server, course_id, user)
    content = (
        "course_id,user_id,role,section_id,status\n"
        f"{course_id},{user},student,s1,deleted\n{course_id},{user},student,s2,active\n"
    )
    path, page = planned(gateway, registrar, content, format="canvas")
    assert "Another row of the file keeps the learner in the course" in page
    sent = registrar.send(f"{path}/apply")
    gateway.work()
    result = registrar.get(sent.headers["location"]).text

    assert "Another row of the file keeps the learner in the course" in result
    assert tile(result, "unchanged") == tile(page, "unchanged") == 2
    assert tile(result, "deactivated") == 0
    assert enrolled(gateway, user, course_id)


def test_options_of_the_plan_hold_for_its_application(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("user")
    content = f"user\n{user}\n!!\n"
    path, page = planned(gateway, registrar, content, course_id=course_id, on_error="abort")
    assert tile(page, "enrolled") == 0
    sent = registrar.send(f"{path}/apply")
    gateway.work()

    assert "apply none" in registrar.get(sent.headers["location"]).text
    assert not enrolled(gateway, user, course_id)


def test_the_mended_file_is_linked_to_the_first_submission(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("user")
    path, _ = planned(gateway, registrar, rows(f"{user},{course_id}typo,x"))
    first = registrar.send(f"{path}/apply").headers["location"]
    gateway.work()
    refused = registrar.get(f"{first}/outcomes.csv", params={"outcome": "refused,invalid"}).text
    mended = refused.replace(f"{course_id}typo", course_id, 1)
    link = re.search(r'href="(/console/upload\?follows=[^"]+)"', registrar.get(first).text)[1]
    form = registrar.get(link).text
    first_id = first.rpartition("/")[2]
    assert f'action="/console/upload?follows={first_id}"' in form
    plan, page = planned(gateway, registrar, mended, follows=first_id)
    assert f'href="{first}"' in page
    second = registrar.send(f"{plan}/apply").headers["location"]
    gateway.work()

    assert f'href="{first}"' in registrar.get(second).text
    assert enrolled(gateway, user, course_id)
    status = gateway.get(f"submissions/{second.rpartition('/')[2]}", gateway.admin).json
    assert status["options"]["follows"] == first_id


def test_a_file_that_cannot_be_read_is_explained_on_the_form(registrar):
    sent = registrar.upload("nothing,known\n1,2\n")

    assert sent.status_code in {400, 415, 422}
    assert 'role="alert"' in sent.text
    assert 'name="file"' in sent.text


def test_a_mended_file_that_cannot_be_read_is_still_linked(gateway, registrar):
    path, _ = planned(gateway, registrar, rows(f"{fresh('u')},{gateway.course(AUDIT)},x"))
    first_id = path.rpartition("/")[2]
    sent = registrar.upload("nothing,known\n1,2\n", follows=first_id)

    assert 'role="alert"' in sent.text
    assert f'action="/console/upload?follows={first_id}"' in sent.text


def test_a_file_follows_no_submission_that_its_caller_does_not_see(gateway, registrar):
    other = gateway.submit("user,course_id\nada,x\n", gateway.server).json["submission_id"]

    assert registrar.get("/console/upload", params={"follows": other}).status_code == 404
    assert registrar.upload(rows("a,b,c"), follows=other).status_code == 404


def test_a_workbook_is_refused_with_what_to_do(registrar):
    sent = registrar.upload("x", name="term.xlsx", media_type=WORKBOOK)

    assert sent.status_code == 415
    assert "The file must be CSV" in sent.text
    assert "save it as CSV UTF-8" in sent.text


@pytest.mark.parametrize("field", [{"follows": "x"}, {"format": "nonsense"}, {"unknown": "x"}])
def test_fields_are_checked_as_the_api_checks_options(registrar, field):
    assert registrar.upload(rows("a,b,c"), **field).status_code in {400, 404}


def test_a_caller_without_the_scope_uploads_nothing(gateway):
    reader = logged_in(gateway, gateway.key("read"))
    page = reader.get("/console/upload")

    assert page.status_code == 403
    assert "enroll" in page.text
    reader.get("/console")
    assert reader.send("/console/submissions/x/apply").status_code == 403


def test_while_it_runs_a_file_shows_progress_and_can_be_cancelled(gateway, registrar):
    course_id = gateway.course(AUDIT)
    path = registrar.upload(rows(f"{fresh('u')},{course_id},x")).headers["location"]
    page = registrar.get(path).text
    link = re.search(r'data-events="([^"]+)"', page)[1]

    assert link.startswith("/api/enrollment/v1/submissions/")
    assert '<progress id="progress" max="1" value="0"' in page
    assert "<noscript><meta http-equiv" in page
    assert registrar.send(f"{path}/apply").status_code == 409
    sent = registrar.send(f"{path}/cancel")
    assert (sent.status_code, sent.headers["location"]) == (303, path)
    gateway.work()
    assert "Cancelled" in registrar.get(path).text
    opened, _, token = link.partition("?token=")
    assert gateway.get(opened, params={"token": token}).status_code == 200
