"""Rows of submissions with their outcomes, lists of submissions, and rows about a learner."""

import io
import re
import zipfile
from uuid import UUID

import pytest

from api_gateway.http.pagination import encode_cursor
from api_gateway.status import learner_rows
from enrollment.domain.model import Learner
from enrollment.storage import events, learners
from enrollment.storage.views import enrollment_views
from enrollment.storage.webhooks import deliveries, endpoints
from schemas.webhooks.messages import event_messages
from tests.support.console_browser import logged_in
from tests.support.console_files import planned, rows
from tests.support.gateway import AUDIT, fresh, utc_now


def test_rows_are_filtered_and_paged(small):
    gateway = small()
    registrar = logged_in(gateway, gateway.key("enroll", "read", name="registrar"))
    course_id = gateway.course(AUDIT)
    good = [f"u{number:03},{course_id},x" for number in range(60)]
    path, page = planned(gateway, registrar, rows(*good, f"b,{course_id}x,y"))

    assert page.count('<td class="num">') >= 50
    following = re.search(r'<a class="button" href="([^"]+cursor=[^"]+)"', page)[1]
    assert "u059" not in page
    assert "u059" in registrar.get(following.replace("&amp;", "&")).text
    failed = registrar.get(path, params={"outcome": "refused,invalid", "reason": ""}).text
    table = failed[failed.index('id="table"') :]
    assert "There is no course" in table
    assert "u000" not in table
    assert registrar.get(path, params={"outcome": "nonsense"}).status_code == 400


def test_a_single_request_has_a_page(gateway):
    gateway.enroll(gateway.server, gateway.course(AUDIT), fresh("u"))
    browser = logged_in(gateway, gateway.server)
    path = re.search(r"/console/submissions/[0-9a-f-]{36}", browser.get("/console").text)[0]

    assert "One request" in browser.get(path).text


def test_a_list_has_the_submissions_of_a_state(gateway, registrar):
    path, _ = planned(gateway, registrar, rows(f"{fresh('u')},{gateway.course(AUDIT)},x"))

    assert path in registrar.get("/console/submissions").text
    assert path in registrar.get("/console/submissions", params={"state": "done"}).text
    assert path not in registrar.get("/console/submissions", params={"state": "queued"}).text
    assert path in registrar.get("/console/submissions", params={"state": ""}).text


def test_an_admin_lists_the_submissions_of_all_callers(gateway, registrar, admin):
    course_id = gateway.course(AUDIT)
    done, _ = planned(gateway, registrar, rows(f"{fresh('u')},{course_id},x"))
    gateway.enroll(gateway.server, course_id, fresh("u"))
    opened = registrar.upload(rows(f"{fresh('u')},{course_id},x")).headers["location"]
    listed = {
        state: admin.get("/console/submissions", params={"callers": "all", "state": state}).text
        for state in ("", "queued", "running", "done", "cancelled")
    }

    assert done not in admin.get("/console/submissions").text
    assert {state for state, page in listed.items() if done in page} == {"", "done"}
    assert {state for state, page in listed.items() if opened in page} == {"", "queued"}
    assert "One request" in listed["done"]
    assert f"{opened}/cancel" in listed["queued"]
    assert f"{done}/cancel" not in listed["done"]
    assert admin.send(f"{opened}/cancel").headers["location"] == opened
    gateway.work()
    cancelled = {"callers": "all", "state": "cancelled"}
    assert opened in admin.get("/console/submissions", params=cancelled).text
    assert registrar.get("/console/submissions", params={"callers": "all"}).status_code == 403
    assert "All callers" not in registrar.get("/console/submissions").text


def test_the_list_of_all_callers_has_pages(small):
    gateway = small()
    admin, course_id = logged_in(gateway, gateway.admin), gateway.course(AUDIT)
    for number in range(60):
        gateway.enroll(gateway.server, course_id, f"u{number}")
    first = admin.get("/console/submissions", params={"callers": "all"}).text
    following = re.search(r'<a class="button" href="([^"]+cursor=[^"]+)"', first)[1]
    pages = [first, admin.get(following.replace("&amp;", "&")).text]
    found = [set(re.findall(r'submissions/([0-9a-f-]{36})"', page)) for page in pages]

    assert [len(ids) for ids in found] == [50, 10]
    assert not found[0] & found[1]


def test_rows_about_a_learner_are_found_in_the_files_of_the_caller(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("searched")
    path, _ = planned(gateway, registrar, rows(f"other,{course_id},x", f"{user},{course_id}typo,x"))
    page = registrar.get("/console/rows", params={"user": user}).text
    found = registrar.get("/console/learners", params={"q": user}).text

    assert path in page
    assert '<td class="nowrap">3</td>' in page
    assert "There is no course" in page
    assert f"/console/rows?user={user}" in found
    another = logged_in(gateway, gateway.key("enroll", "read", name="another-one"))
    assert path not in another.get("/console/rows", params={"user": user}).text
    for none in ("", "nobody", '"', "\\", "%", "[]"):
        assert path not in registrar.get("/console/rows", params={"user": none}).text


def test_a_row_with_an_email_is_found_by_the_username_and_the_other_way_round(gateway, registrar):
    email = f"{fresh('mail')}@uni.test"
    user, course_id = gateway.person(email=email), gateway.course(AUDIT)
    path, _ = planned(gateway, registrar, f"email,course_id\n{email},{course_id}\n")

    for text in (user, email):
        assert path in registrar.get("/console/rows", params={"user": text}).text


def test_a_single_request_is_found_and_by_an_admin_those_of_all_callers(gateway, registrar, admin):
    user, other = fresh("asked"), fresh("asked")
    course_id = gateway.course(AUDIT)
    gateway.enroll(gateway.key("enroll", "read", name="registrar"), f"{course_id}x", user)
    gateway.enroll(gateway.server, course_id, other)
    found = registrar.get("/console/rows", params={"user": user}).text

    assert "one request" in found
    assert "There is no course" in found
    assert "one request" in admin.get("/console/rows", params={"user": user}).text
    assert "one request" in admin.get("/console/rows", params={"user": other}).text
    assert "one request" not in registrar.get("/console/rows", params={"user": other}).text


def test_a_row_of_an_archive_is_found_with_its_file_and_line(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("packed")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.csv", rows(f"a,{course_id},x", f"b,{course_id},x"))
        archive.writestr("two.csv", rows(f"{user},{course_id},x"))
    planned(gateway, registrar, packed.getvalue(), name="files.zip")
    page = registrar.get("/console/rows", params={"user": user}).text

    assert '<td class="nowrap">2<span class="where path"><bdi>two.csv</bdi></span></td>' in page


@pytest.mark.parametrize("bound", ["MAX_SEARCHED_BATCHES", "MAX_SEARCHED_SUBMISSIONS"])
def test_a_search_goes_on_where_it_ended(small, monkeypatch, bound):
    gateway = small(batch_rows="1")
    registrar = logged_in(gateway, gateway.key("enroll", "read", name="registrar"))
    course_id = gateway.course(AUDIT)
    first, _ = planned(gateway, registrar, rows(f"sought,{course_id},x"))
    many = [f"u{number},{course_id},x" for number in range(20)]
    second, _ = planned(gateway, registrar, rows(*many, f"sought,{course_id},x"))
    planned(gateway, registrar, rows(f"other,{course_id},x"))
    monkeypatch.setattr(learner_rows, bound, 1)
    page = registrar.get("/console/rows", params={"user": "sought"}).text
    found = []
    for _ in range(10):
        table = page[page.index("<main") :]
        found += [path for path in (second, first) if f'"{path}"' in table]
        following = re.search(r'<a class="button" href="([^"]+cursor=[^"]+)"', table)
        if following is None:
            break
        page = registrar.get(following[1].replace("&amp;", "&")).text

    assert found == [second, first]


def test_a_search_goes_on_there_though_another_file_came_meanwhile(small, monkeypatch):
    gateway = small(batch_rows="1")
    registrar = logged_in(gateway, gateway.key("enroll", "read", name="registrar"))
    course_id = gateway.course(AUDIT)
    many = [f"u{number},{course_id},x" for number in range(20)]
    path, _ = planned(gateway, registrar, rows(f"sought,{course_id},x", *many))
    monkeypatch.setattr(learner_rows, "MAX_SEARCHED_BATCHES", 1)
    pages = [registrar.get("/console/rows", params={"user": "sought"}).text]
    planned(gateway, registrar, rows(*many))
    while following := re.search(r'<a class="button" href="([^"]+cursor=[^"]+)"', pages[-1]):
        pages.append(registrar.get(following[1].replace("&amp;", "&")).text)

    assert [f'"{path}"' in page for page in pages] == [True, False, False]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "eA",
        encode_cursor("1 x 1"),
        encode_cursor("  x"),
        encode_cursor("  1"),
        encode_cursor(f"1 {UUID(int=1)} -1"),
        encode_cursor(f"1 {UUID(int=1)} {2**31}"),
        encode_cursor(f"1 {UUID(int=1)} {10**30}"),
        encode_cursor(f"1 {UUID(int=1)} 1 1"),
        encode_cursor(f"{10**30} {UUID(int=1)} 1"),
    ],
)
def test_a_search_goes_on_at_no_other_place(registrar, cursor):
    sought = {"user": "ada", "cursor": cursor}

    assert registrar.get("/console/rows", params=sought).status_code == 400


def test_learners_are_found_by_the_beginning_of_their_name_or_email(gateway, registrar):
    word = fresh("Begin")
    with gateway.sessions.begin() as session:
        for name, email in ((f"{word}ner", None), (f"x{word}", f"{word}@uni.test".lower())):
            learners.save(session, Learner(name, email))
        learners.save(session, Learner(f"{word[:-1]}Other"))
    page = registrar.get("/console/learners", params={"q": word}).text

    assert f'href="/console/learners/{word}ner"' in page
    assert f'href="/console/learners/x{word}"' in page
    assert f"{word[:-1]}Other" not in page
    assert "begin with it" not in registrar.get("/console/learners", params={"q": "~~"}).text


def test_a_learner_shows_which_webhooks_were_told(gateway, registrar, admin):
    admin.get("/console/webhooks")
    url = f"https://{fresh('lms')}.example.org/hook"
    admin.send("/console/webhooks", {"url": url})
    name, course_id = gateway.person(), gateway.course(AUDIT)
    gateway.enroll(gateway.server, course_id, name)
    with gateway.worker_sessions.begin() as session:
        newest = enrollment_views.newest_event(session, name, course_id)
        (event,) = events.history(session, newest)
        (webhook,) = [one for one in endpoints.find_all(session) if one.url == url]
        deliveries.queue(session, [webhook], event_messages([event]), now=utc_now())

    assert f'title="{url}"' in admin.get(f"/console/learners/{name}").text
    assert url not in registrar.get(f"/console/learners/{name}").text


def test_rows_far_apart_are_found_page_by_page(small):
    gateway = small(batch_rows="1")
    registrar = logged_in(gateway, gateway.key("enroll", "read", name="registrar"))
    course_id = gateway.course(AUDIT)
    many = [f"u{number:03},{course_id},x" for number in range(200)]
    path, _ = planned(gateway, registrar, rows(*many, f"b,{course_id}x,y"))
    page = registrar.get(path, params={"reason": "course_not_found"}).text
    for _ in range(5):
        if "There is no course" in page[page.index('id="table"') :]:
            break
        following = re.search(r'<a class="button" href="([^"]+cursor=[^"]+)"', page)[1]
        page = registrar.get(following.replace("&amp;", "&")).text

    assert "There is no course" in page[page.index('id="table"') :]
    assert "cursor=" not in registrar.get(path, params={"reason": "course_full"}).text
