"""Files of an export that name no enrollments: users, courses, sections and others."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from schemas.files.csv_rows import DELIMITERS, names_of
from schemas.files.formats.detect import detect_format
from schemas.files.source import UnreadableFile

_NOT_LETTERS = re.compile(r"[^a-z]+")


class _Sibling(NamedTuple):
    """A kind of files of one system."""

    system: str
    #: Words of which a file's name contains one, in lower case, letters only.
    names: tuple[str, ...]
    #: Case-folded columns that its header has.
    columns: frozenset[str]


def _siblings(system: str, files: str) -> Iterator[_Sibling]:
    """Yields the kinds of a text with a line each: names, a colon, columns."""
    for line in files.strip().splitlines():
        names, _, columns = line.partition(":")
        yield _Sibling(
            system,
            tuple(names.split()),
            frozenset(column.strip() for column in columns.split(",")),
        )


#: Each header that is named here lacks what the enrollments of its system have.
_SIBLINGS = (
    *_siblings(
        "canvas",
        """
        users: user_id, login_id, status
        logins: user_id, login_id, existing_user_id
        logins: user_id, login_id, existing_integration_id
        logins: user_id, login_id, existing_canvas_user_id
        accounts: account_id, parent_account_id, name
        terms: term_id, name, status
        courses: course_id, short_name, long_name
        sections: section_id, course_id, name
        xlist: xlist_course_id, section_id
        groupcategor: group_category_id
        groups: group_id, name, status
        groupsmembership groupmembership: group_id, user_id, status
        admins: user_id, account_id, role
        userobservers observers: observer_id, student_id
        changesisid changesis: old_id, new_id, type
        roles: role_id, name
        """,
    ),
    *_siblings(
        "oneroster",
        """
        academicsessions: sourcedid, title, type, startdate, enddate
        categories: sourcedid, title
        classes: sourcedid, title, coursesourcedid
        classresources: sourcedid, classsourcedid, resourcesourcedid
        courses: sourcedid, title, coursecode
        courseresources: sourcedid, coursesourcedid, resourcesourcedid
        demographics: sourcedid, birthdate
        demographics: sourcedid, sex
        lineitems: sourcedid, title, classsourcedid
        orgs: sourcedid, name, type
        resources: sourcedid, vendorresourceid
        results: sourcedid, lineitemsourcedid, studentsourcedid
        roles: sourcedid, usersourcedid, roletype
        scorescales: sourcedid, title, classsourcedid
        userprofiles: sourcedid, usersourcedid, profiletype
        userresources: sourcedid, usersourcedid, resourcesourcedid
        users: sourcedid, username, enableduser
        """,
    ),
    *_siblings(
        "sds",
        """
        academicsessions: sourcedid, title, type
        classes: sourcedid, orgsourcedid, title
        courses: sourcedid, orgsourcedid, title
        demographics: usersourcedid, sex
        orgs: sourcedid, name, type
        relationships: usersourcedid, relationshipusersourcedid
        roles: usersourcedid, orgsourcedid, role
        users: sourcedid, username
        """,
    ),
    *_siblings(
        "sds_v1",
        """
        school: sis id, name
        section: sis id, school sis id, section name
        student: sis id, school sis id, username
        teacher: sis id, school sis id, username
        teacherroster: section sis id, sis id
        """,
    ),
    *_siblings(
        "clever",
        """
        schools: school_id, school_name
        sections: school_id, section_id, teacher_id
        students: school_id, student_id
        teachers: school_id, teacher_id
        admins staff: school_id, staff_id
        admins: school_id, admin_email
        """,
    ),
    *_siblings(
        "d2l",
        """
        other departments semesters templates offerings sections: type, action, code, name
        users: type, action, username, org_defined_id
        """,
    ),
    *_siblings(
        "blackboard",
        """
        course: external_course_key, course_id, course_name
        association: external_association_key
        categor: external_category_key
        organization: external_organization_key
        node: external_node_key
        person user: external_person_key, user_id
        observer: external_observer_key
        term: external_term_key, name
        """,
    ),
)


def sibling_kind(name: str, record: str) -> str | None:
    """Returns what a file of an archive is, by its name and its first record.

    None: it is not one of these files, or its header is that of enrollments.
    """
    stem = name.rsplit("/", 1)[-1].rpartition(".")[0] or name
    letters = _NOT_LETTERS.sub("", stem.casefold())
    kinds = [kind for kind in _SIBLINGS if any(word in letters for word in kind.names)]
    if not kinds:
        return None
    headers = [frozenset(names_of(record, delimiter)) for delimiter in DELIMITERS]
    kind = next((k for k in kinds if any(k.columns <= header for header in headers)), None)
    if kind is None or _has_enrollments(record):
        return None
    return kind.system


def _has_enrollments(record: str) -> bool:
    try:
        detect_format(record)
    except UnreadableFile:
        return False
    return True
