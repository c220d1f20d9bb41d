"""The relations on the routes of version 2 of the Open edX API: those of version 1, other errors."""

from collections.abc import Mapping

from tests.support.relations.callers import EVERYBODY
from tests.support.relations.model import (
    HIDDEN,
    NOT_FOUND,
    Answer,
    Key,
    Rule,
    same_for_all,
)
from tests.support.relations.openedx_routes import OPENEDX

#: Answers of version 1 that version 2 gives in another form.
_IN_VERSION_2: Mapping[Answer, Answer] = {
    HIDDEN: NOT_FOUND,
    Answer(406, "learner_not_found"): Answer(404, "learner_not_found"),
    Answer(404): NOT_FOUND,
}
#: Routes of version 2 by those of version 1 that they are like; also under its older paths.
_LIKE = {
    "v2_enrollment": "enrollment",
    "v2_enrollment_detail": "enrollment_detail",
    "v2_enrollment_legacy": "enrollment_detail",
    "v2_enrollments": "enrollments",
    "v2_roles": "roles",
    "v2_unenroll": "unenroll",
    "v2_unenroll_legacy": "unenroll",
    "v2_enrollment_allowed": "enrollment_allowed",
    "v2_allowed_legacy": "enrollment_allowed",
}
#: Version 1 of each of these.
FIRST_VERSIONS: Mapping[Key, Key] = {
    key._replace(route=route): key
    for route, first in _LIKE.items()
    for key in OPENEDX
    if key.route == first
}


def _in_version_2(rule: Rule) -> Rule:
    answers = {
        relation: [(callers, _IN_VERSION_2.get(answer, answer)) for callers, answer in lines]
        for relation, lines in rule.answers.items()
    }
    return rule._replace(answers=answers)


VERSION_2: Mapping[Key, Rule] = {
    **{key: _in_version_2(OPENEDX[first]) for key, first in FIRST_VERSIONS.items()},
    **{
        Key(route, "GET"): same_for_all(EVERYBODY, there=Answer(200), absent=Answer(404, code))
        for route, code in (
            ("v2_course_details", "course_not_found"),
            ("v2_course_legacy", "course_not_found"),
        )
    },
}
