"""One table of requests, written as a file of every supported format."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

#: The e-mail for every username where a format has a column for it.
GUEST = "guest@example.org"


class RequestedChange(NamedTuple):
    """A requested change in the terms of all formats."""

    user: str
    course_id: str
    is_active: bool = True


class Form(NamedTuple):
    """The notation of a format."""

    #: None: its files have no header.
    header: Sequence[str] | None
    row: Callable[[RequestedChange], list[str]]
    mark: str = ","
    #: Whether a row can express that a learner leaves.
    can_withdraw: bool = True
    #: Whether a row names the course; otherwise it is given beside the file.
    has_course: bool = True
    #: Additional values beside each user.
    email: str | None = None
    #: Whether the system has usernames in lower case only.
    lowers_usernames: bool = False


FORMS = {
    "canvas": Form(
        ["user_id", "course_id", "role", "status"],
        lambda w: [w.user, w.course_id, "student", "active" if w.is_active else "deleted"],
    ),
    "oneroster": Form(
        ["sourcedId", "status", "classSourcedId", "userSourcedId", "role"],
        lambda w: ["e", "" if w.is_active else "tobedeleted", w.course_id, w.user, "student"],
    ),
    "registrar": Form(
        ["student_key", "course_id", "status"],
        lambda w: [w.user, w.course_id, "active" if w.is_active else "inactive"],
    ),
    "d2l": Form(
        ["type", "action", "child_code", "role_name", "parent_code"],
        lambda w: [
            "enrollment", "" if w.is_active else "DELETE", w.user, "Learner", w.course_id,
        ],
    ),
    "blackboard": Form(
        ["EXTERNAL_PERSON_KEY", "EXTERNAL_COURSE_KEY", "ROW_STATUS"],
        lambda w: [w.user, w.course_id, "ENABLED" if w.is_active else "DISABLED"],
        mark="|",
    ),
    "moodle_flat": Form(
        None, lambda w: ["add" if w.is_active else "del", "student", w.user, w.course_id]
    ),
    "moodle_users": Form(
        ["username", "course1", "enrolstatus1"],
        lambda w: [w.user, w.course_id, "0" if w.is_active else "1"],
        lowers_usernames=True,
    ),
    "sds": Form(
        ["classSourcedId", "userSourcedId", "role"],
        lambda w: [w.course_id, w.user, "student"],
        can_withdraw=False,
    ),
    "sds_v1": Form(
        ["Section SIS ID", "Student SIS ID"],
        lambda w: [w.course_id, w.user],
        can_withdraw=False,
    ),
    "clever": Form(
        ["School_id", "Section_id", "Student_id"],
        lambda w: ["s", w.course_id, w.user],
        can_withdraw=False,
    ),
    "openedx_dashboard": Form(
        None,
        lambda w: [GUEST, w.user, "Full Name", "GB"],
        can_withdraw=False,
        has_course=False,
        email=GUEST,
    ),
    "openedx_bulk_change": Form(
        ["user", "mode", "course_id"],
        lambda w: [w.user, "", w.course_id],
        can_withdraw=False,
    ),
    "native": Form(
        ["user", "course_id", "is_active"],
        lambda w: [w.user, w.course_id, str(w.is_active).lower()],
    ),
}  # fmt: skip

#: Additional files that identify an archive of the format.
MANIFESTS = {
    "oneroster": ("manifest.csv", "propertyName,value\noneroster.version,1.1\nfile.enrollments,bulk\n"),
    "d2l": ("manifest.json", "{}"),
}  # fmt: skip


def sayable(name: str, wishes: Iterable[RequestedChange], beside: str) -> list[RequestedChange]:
    """Returns the requests that a format can express, for the given course where it has none."""
    form = FORMS[name]
    return [
        RequestedChange(
            wish.user.lower() if form.lowers_usernames else wish.user,
            wish.course_id if form.has_course else beside,
            wish.is_active or not form.can_withdraw,
        )
        for wish in wishes
    ]


def lines_of(name: str, rows: Iterable[Sequence[str]]) -> bytes:
    """Returns a file of a format from rows of cells."""
    form = FORMS[name]
    text = io.StringIO(newline="")
    written = csv.writer(text, delimiter=form.mark)
    if form.header is not None:
        written.writerow(form.header)
    written.writerows(rows)
    return text.getvalue().encode()


def file_of(name: str, wishes: Iterable[RequestedChange]) -> bytes:
    """Returns the file with the requests."""
    return lines_of(name, map(FORMS[name].row, wishes))


def ndjson_of(name: str, wishes: Iterable[RequestedChange]) -> bytes:
    """Returns the same requests in the native format, one per line."""
    beside = {} if FORMS[name].email is None else {"email": FORMS[name].email}
    return "\n".join(json.dumps(wish._asdict() | beside) for wish in wishes).encode()


def archive_of(name: str, wishes: Iterable[RequestedChange]) -> bytes:
    """Returns an archive with the file, and its manifest where the format has one."""
    files = {"enrollments.csv": file_of(name, wishes)}
    if name in MANIFESTS:
        manifest, text = MANIFESTS[name]
        files[manifest] = text.encode()
    return zipped(files)


def zipped(files: dict[str, bytes]) -> bytes:
    """Returns an archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return packed.getvalue()
