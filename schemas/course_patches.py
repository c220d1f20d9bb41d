"""Parses changes to many courses, and renders the differences that they made."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

from enrollment.domain.model import Course
from schemas.courses import apply_changes, dump_course, load_changes
from schemas.encoding.json_types import Count, Doc


class CoursePatch(NamedTuple):
    """The members of one course to be set; the others stay."""

    course_id: str
    members: Mapping[str, Any]

    def apply(self, course: Course | None) -> Course:
        """Returns the course with the members set; without a course a new one."""
        return apply_changes(course or Course(course_id=self.course_id), self.members)


class CourseChange(NamedTuple):
    """A course before (None: it is new) and after a change."""

    before: Course | None
    after: Course


class CourseDifferenceJson(TypedDict):
    """The members of a course that were changed."""

    course_id: str
    before: dict[str, object]
    after: dict[str, object]


class PatchedCoursesJson(TypedDict):
    """The number of courses in the request, and the changes; a replay has only the number."""

    saved: Count
    created: NotRequired[Annotated[list[str], Doc("Ids of new courses.")]]
    changed: NotRequired[list[CourseDifferenceJson]]
    unchanged: NotRequired[Count]


def load_patch(data: object) -> CoursePatch:
    """Parses one patch. Raises marshmallow's ValidationError, with rules as messages."""
    members = load_changes(data)
    return CoursePatch(members.pop("course_id"), members)


def dump_changes(changes: Iterable[CourseChange]) -> PatchedCoursesJson:
    """Renders which courses are new, and which members of the others were changed."""
    created: list[str] = []
    changed: list[CourseDifferenceJson] = []
    unchanged = 0
    for before, after in changes:
        if before is None:
            created.append(after.course_id)
        elif difference := _difference(before, after):
            changed.append(difference)
        else:
            unchanged += 1
    saved = len(created) + len(changed) + unchanged
    return {"saved": saved, "created": created, "changed": changed, "unchanged": unchanged}


def _difference(before: Course, after: Course) -> CourseDifferenceJson | None:
    old: Mapping[str, object] = dump_course(before)
    new: Mapping[str, object] = dump_course(after)
    names = [name for name in old if name != "seats_taken" and old[name] != new[name]]
    if not names:
        return None
    return {
        "course_id": after.course_id,
        "before": {name: old[name] for name in names},
        "after": {name: new[name] for name in names},
    }
