"""``/courses`` and ``/courses/{course_id}``: the courses as they are kept."""

from http import HTTPStatus
from typing import Any, NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway import media
from api_gateway.course_details import CourseDetails
from api_gateway.once import once
from api_gateway.problems import bad_request
from api_gateway.records import Records
from api_gateway.resources.bodies import (
    MAX_BODY,
    MOST,
    checked,
    cursor_at,
    page_size,
    place_of,
    read_many,
    write_saved,
)
from enrollment.domain.coursekeys import parse_course_key
from enrollment.domain.errors import CourseNotFound
from enrollment.domain.model import Course
from enrollment.storage import courses
from enrollment.storage.idempotency import KeyUse
from schemas.bulk_objects import BulkReader
from schemas.courses import CoursePageJson, changed, dump_course, load_changes, load_course

MANY = BulkReader(
    "courses", load_course, key=lambda course: course.course_id, key_field="course_id", most=MOST
)


class Put(NamedTuple):
    """A course as it is after a PUT."""

    course: Course
    is_new: bool


class CourseResource:
    """One course. What was changed is seen by everybody when the change has been answered."""

    def __init__(self, records: Records, details: CourseDetails) -> None:
        self._records = records
        self._details = details

    async def on_get(self, req: Request, resp: Response, course_id: str) -> None:
        """The course as it is in the records now."""
        course = await self._records.read(courses.find, known_form(course_id))
        if course is None:
            raise CourseNotFound(course_id)
        media.write_json(resp, dump_course(course))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, course_id: str) -> None:
        """Make the course, or put this in the place of the old one."""
        known_form(course_id)
        data = await media.read_json(req, MAX_BODY)
        course = checked(lambda: load_course(data, course_id=course_id), data)
        put = await self._records.write(put_course, course)
        await self._details.settle()
        status = HTTPStatus.CREATED if put.is_new else HTTPStatus.OK
        media.write_json(resp, dump_course(put.course), status)

    async def on_patch(self, req: Request, resp: Response, course_id: str) -> None:
        """Change some members."""
        known_form(course_id)
        data = await media.read_json(req, MAX_BODY)
        members = checked(lambda: load_changes(data, course_id=course_id), data)
        course = await self._records.write(change_course, course_id, members)
        await self._details.settle()
        media.write_json(resp, dump_course(course))

    async def on_delete(self, req: Request, resp: Response, course_id: str) -> None:
        """Remove the course, if nobody was ever enrolled."""
        await self._records.write(courses.delete, known_form(course_id))
        await self._details.settle()
        resp.status = HTTPStatus.NO_CONTENT


class CoursesResource:
    """All courses."""

    def __init__(self, records: Records, details: CourseDetails) -> None:
        self._records = records
        self._details = details

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of them, in the order of their ids."""
        limit = page_size(req)
        page = await self._records.read(courses.page, after=place_of(req), limit=limit + 1)
        following = cursor_at(page[limit - 1].course_id) if len(page) > limit else None
        shown = [dump_course(course) for course in page[:limit]]
        body: CoursePageJson = {"courses": shown, "next": following}
        media.write_json(resp, body)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Make or replace many, all or none."""
        many, use = await read_many(req, self._records, MANY)
        is_replay = await self._records.write(_save_once, many, use)
        await self._details.settle()
        write_saved(resp, len(many), is_replay=is_replay)


def _save_once(session: Session, many: list[Course], use: KeyUse | None) -> bool:
    return once(session, use, lambda: courses.save_all(session, many))


def known_form(course_id: str) -> str:
    """The id, if it has the form of one."""
    if parse_course_key(course_id) is None:
        found = {"field": "course_id", "value": course_id[:100], "rule": "course_key"}
        raise bad_request("invalid_course_id", "The address names no course key.", found)
    return course_id


def put_course(session: Session, course: Course) -> Put:
    """Save a course and read it back with its seats."""
    before = courses.find(session, course.course_id)
    courses.save(session, course)
    return Put(courses.find(session, course.course_id) or course, before is None)


def change_course(session: Session, course_id: str, members: dict[str, Any]) -> Course:
    """Change members of a course that nobody else writes meanwhile."""
    return courses.change(session, course_id, lambda course: changed(course, members))
