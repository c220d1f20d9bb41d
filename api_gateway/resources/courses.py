"""`/courses` and `/courses/{course_id}`: reads, saves and deletes courses."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from itertools import starmap
from typing import Any, NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.course_details_cache import CourseDetailsCache
from api_gateway.database import Database, ListReader
from api_gateway.http.pagination import encode_cursor, read_cursor, read_page_size
from api_gateway.http.problems import bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import (
    MAX_OBJECTS,
    read_object,
    read_objects,
    write_saved_count,
)
from api_gateway.resources.common.idempotent_write import run_once
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.errors import CourseNotFound
from enrollment.domain.model import Course
from enrollment.storage import course_patches, courses
from enrollment.storage.idempotency import KeyUse
from schemas.course_patches import (
    CourseChange,
    CoursePatch,
    dump_changes,
    load_patch,
)
from schemas.courses import CoursePageJson, apply_changes, dump_course, load_changes, load_course
from schemas.findings import finding
from schemas.requests.bulk_objects import BulkReader

#: Parses a body with a list of courses.
COURSE_READER = BulkReader(
    "courses",
    load_course,
    key=lambda course: course.course_id,
    key_field="course_id",
    max_objects=MAX_OBJECTS,
)
#: Parses a body with a list of changes to courses.
PATCH_READER = BulkReader(
    "courses",
    load_patch,
    key=lambda patch: patch.course_id,
    key_field="course_id",
    max_objects=MAX_OBJECTS,
)


class SavedCourse(NamedTuple):
    """The result of a PUT."""

    course: Course
    is_new: bool


class CourseResource:
    """One course. After the response to a change, no process serves the old course."""

    def __init__(self, database: Database, details: CourseDetailsCache) -> None:
        self._database = database
        self._details = details

    async def on_get(self, req: Request, resp: Response, course_id: str) -> None:
        """Responds with the course."""
        course = await self._database.read(courses.find, check_course_key(course_id))
        if course is None:
            raise CourseNotFound(course_id)
        write_json(resp, dump_course(course))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, course_id: str) -> None:
        """Creates or replaces the course."""
        check_course_key(course_id)
        load = partial(load_course, course_id=course_id)
        course = await read_object(req, self._database, load)
        saved = await self._database.write(put_course, course)
        await self._details.wait_for_leases()
        status = HTTPStatus.CREATED if saved.is_new else HTTPStatus.OK
        write_json(resp, dump_course(saved.course), status)

    async def on_patch(self, req: Request, resp: Response, course_id: str) -> None:
        """Changes the members that are given."""
        check_course_key(course_id)
        load = partial(load_changes, course_id=course_id)
        members = await read_object(req, self._database, load)
        course = await self._database.write(change_course, course_id, members)
        await self._details.wait_for_leases()
        write_json(resp, dump_course(course))

    async def on_delete(self, req: Request, resp: Response, course_id: str) -> None:
        """Deletes the course, unless a learner was ever enrolled in it."""
        await self._database.write(courses.delete, check_course_key(course_id))
        await self._details.wait_for_leases()
        resp.status = HTTPStatus.NO_CONTENT


class CoursesResource:
    """All courses."""

    def __init__(self, database: Database, lists: ListReader, details: CourseDetailsCache) -> None:
        self._database = database
        self._lists = lists
        self._details = details

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists a page of courses, ordered by id."""
        limit = read_page_size(req)
        page = await self._lists.read(courses.page, after=read_cursor(req), limit=limit + 1)
        next_cursor = encode_cursor(page[limit - 1].course_id) if len(page) > limit else None
        found = [dump_course(course) for course in page[:limit]]
        body: CoursePageJson = {"courses": found, "next": next_cursor}
        write_json(resp, body)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Creates or replaces a list of courses, all or none."""
        new, key_use = await read_objects(req, self._database, COURSE_READER)
        is_replay = await self._database.write(_save_once, new, key_use)
        await self._details.wait_for_leases()
        write_saved_count(resp, len(new), is_replay=is_replay)

    async def on_patch(self, req: Request, resp: Response) -> None:
        """Creates courses, and sets the given members of existing ones, all or none."""
        patches, key_use = await read_objects(req, self._database, PATCH_READER)
        changes = await self._database.write(patch_once, patches, key_use)
        await self._details.wait_for_leases()
        if changes is None:
            write_saved_count(resp, len(patches), is_replay=True)
        else:
            write_json(resp, dump_changes(changes))


def _save_once(session: Session, new: list[Course], key_use: KeyUse | None) -> bool:
    return run_once(session, key_use, lambda: courses.save_all(session, new))


def patch_once(
    session: Session, patches: Sequence[CoursePatch], key_use: KeyUse | None
) -> list[CourseChange] | None:
    """Changes courses; returns the changes, None if an earlier request made them already."""
    changes: list[CourseChange] = []

    def save() -> None:
        edits = {patch.course_id: patch.apply for patch in patches}
        changes.extend(starmap(CourseChange, course_patches.modify_all(session, edits)))

    return None if run_once(session, key_use, save) else changes


def check_course_key(course_id: str) -> str:
    """Returns the course id. Raises Problem 400 if it is not a course key."""
    if parse_course_key(course_id) is None:
        found = finding("course_id", course_id, "course_key")
        raise bad_request("invalid_course_id", "The URL contains no valid course key.", found)
    return course_id


def put_course(session: Session, course: Course) -> SavedCourse:
    """Saves a course and returns it with its seats taken."""
    before = courses.find(session, course.course_id)
    courses.save(session, course)
    return SavedCourse(courses.find(session, course.course_id) or course, before is None)


def change_course(session: Session, course_id: str, members: dict[str, Any]) -> Course:
    """Locks a course, changes members of it, and returns it."""
    return courses.modify(session, course_id, lambda course: apply_changes(course, members))
