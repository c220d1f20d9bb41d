"""The relations on the routes of Open edX: every route and method, every caller and relation."""

from collections.abc import Mapping

from tests.support.relations.callers import (
    COURSE_STAFF,
    ENROLLERS,
    EVERYBODY,
    KNOWN,
    ONLOOKERS,
    READERS,
    ROLES,
    STAFFS,
    SUBJECTS,
)
from tests.support.relations.model import (
    ABSENT,
    ACCEPTED,
    ALL,
    CREATED,
    DELETED,
    HIDDEN,
    MISSING,
    NO_COURSE,
    NO_CREDENTIALS,
    NONE,
    NOT_ENROLLED,
    NOT_FOUND,
    OK,
    OTHER,
    OWN,
    STAFFED,
    Answer,
    Key,
    Lines,
    Rule,
    rows,
    same_for_all,
)

_NO_LEARNER = Answer(406, "learner_not_found")
_KEYS = KNOWN - SUBJECTS


def _by_onlookers(answer: Answer, hidden: Answer) -> Lines:
    """Answers of what onlookers see and others do not."""
    return [(ONLOOKERS, answer), (KNOWN - ONLOOKERS, hidden)]


_ENROLLS: Lines = [(ENROLLERS, ACCEPTED), (KNOWN - ENROLLERS, HIDDEN)]

_ENROLLMENT: Mapping[Key, Rule] = {
    Key("enrollment", "GET"): Rule(
        KNOWN,
        {
            OWN: [(SUBJECTS, rows(OWN))],
            STAFFED: [
                (ONLOOKERS, rows(STAFFED, OTHER)),
                (COURSE_STAFF, rows(STAFFED)),
                (KNOWN - ONLOOKERS - COURSE_STAFF, rows()),
            ],
            OTHER: _by_onlookers(rows(OTHER), rows()),
            ABSENT: [(KNOWN, rows())],
            NOT_ENROLLED: [(KNOWN, rows())],
        },
    ),
    Key("enrollment", "GET", "of the caller"): Rule(
        KNOWN, {ALL: [(SUBJECTS, rows(OWN)), (_KEYS, rows())]}
    ),
    Key("enrollment", "POST"): Rule(
        KNOWN,
        {
            OWN: [(SUBJECTS, ACCEPTED)],
            STAFFED: _ENROLLS,
            OTHER: _ENROLLS,
            ABSENT: _ENROLLS,
            NOT_ENROLLED: _ENROLLS,
            NO_COURSE: _ENROLLS,
        },
    ),
    Key("enrollment", "POST", "by e-mail"): Rule(
        KNOWN,
        {
            OWN: [(SUBJECTS & ENROLLERS, ACCEPTED), (SUBJECTS - ENROLLERS, HIDDEN)],
            OTHER: _ENROLLS,
            ABSENT: _ENROLLS,
        },
    ),
    Key("enrollment", "POST", "of the caller"): Rule(
        KNOWN, {ALL: [(SUBJECTS, ACCEPTED), (_KEYS, _NO_LEARNER)]}
    ),
    Key("enrollment_detail", "GET"): Rule(
        KNOWN,
        {
            OWN: [(SUBJECTS, OK)],
            STAFFED: _by_onlookers(OK, HIDDEN),
            OTHER: _by_onlookers(OK, HIDDEN),
            **dict.fromkeys(MISSING, _by_onlookers(NONE, HIDDEN)),
        },
    ),
    Key("enrollment_detail", "GET", "history"): Rule(
        KNOWN,
        {
            OWN: [(SUBJECTS, OK)],
            **dict.fromkeys((STAFFED, OTHER, *MISSING), _by_onlookers(OK, NOT_FOUND)),
        },
    ),
    Key("enrollment_detail", "GET", "of the caller"): Rule(
        KNOWN,
        {ALL: [(SUBJECTS, OK), (ONLOOKERS - SUBJECTS, NONE), (_KEYS - ONLOOKERS, HIDDEN)]},
    ),
    Key("enrollments", "GET"): Rule(
        READERS, {OTHER: [(READERS, rows(OTHER))], ABSENT: [(READERS, rows())]}
    ),
}

_ACCOUNT = Rule(
    KNOWN,
    {
        OWN: [(SUBJECTS, OK)],
        OTHER: _by_onlookers(OK, NOT_FOUND),
        ABSENT: [(KNOWN, NOT_FOUND)],
    },
)

_PEOPLE: Mapping[Key, Rule] = {
    Key("roles", "GET"): Rule(
        KNOWN,
        {
            ALL: [
                (frozenset(ROLES), rows(STAFFED)),
                (SUBJECTS - frozenset(ROLES), rows()),
                (_KEYS, Answer(400, "no_user")),
            ]
        },
    ),
    Key("unenroll", "POST"): same_for_all(STAFFS, there=ACCEPTED, absent=Answer(404)),
    Key("enrollment_allowed", "GET"): same_for_all(STAFFS, all=OK),
    Key("enrollment_allowed", "POST"): same_for_all(
        STAFFS, there=Answer(409, "already_exists"), absent=CREATED
    ),
    Key("enrollment_allowed", "DELETE"): same_for_all(STAFFS, there=DELETED, absent=NOT_FOUND),
    Key("accounts", "GET", "by username"): _ACCOUNT,
    Key("accounts", "GET", "by e-mail"): _ACCOUNT,
    Key("account", "GET"): _ACCOUNT,
    Key("me", "GET"): Rule(KNOWN, {ALL: [(SUBJECTS, OK), (_KEYS, NO_CREDENTIALS)]}),
}

OPENEDX: Mapping[Key, Rule] = {
    **_ENROLLMENT,
    **_PEOPLE,
    Key("bulk_enroll", "POST"): same_for_all(STAFFS, all=ACCEPTED),
    Key("course_details", "GET"): same_for_all(
        EVERYBODY, there=OK, absent=Answer(400, "course_not_found")
    ),
    Key("catalog", "GET"): same_for_all(KNOWN, all=OK),
    Key("catalog_course", "GET"): same_for_all(
        KNOWN, there=OK, absent=Answer(404, "course_not_found")
    ),
    Key("access_token", "POST"): same_for_all(EVERYBODY, all=OK),
}
