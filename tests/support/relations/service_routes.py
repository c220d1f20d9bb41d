"""The relations on the routes of this service that Open edX does not have."""

from collections.abc import Mapping

from tests.support.relations.callers import (
    ADMINS,
    COURSE_KEEPERS,
    ENROLLERS,
    EVERYBODY,
    KNOWN,
    ONLOOKERS,
    READERS,
    STAFFS,
    SUBJECTS,
)
from tests.support.relations.model import (
    ABSENT,
    ACCEPTED,
    ALL,
    CREATED,
    DELETED,
    MISSING,
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

#: Callers who can store a request, and so have submissions.
OWNERS = SUBJECTS | ENROLLERS
_NO_COURSE = Answer(404, "course_not_found")
_NO_LEARNER = Answer(404, "learner_not_found")
_FINISHED = Answer(409, "submission_finished")


def _of_one_submission(answer: Answer) -> Rule:
    """Returns the rule of what only the owner and admins reach."""
    return Rule(
        KNOWN,
        {
            OWN: [(OWNERS, answer)],
            OTHER: [(ADMINS, answer), (KNOWN - ADMINS, NOT_FOUND)],
            ABSENT: [(KNOWN, NOT_FOUND)],
        },
    )


#: Of enrollments: what onlookers see and others do not.
_BY_ONLOOKERS: Lines = [(ONLOOKERS, OK), (KNOWN - ONLOOKERS, NOT_FOUND)]

_ENROLLMENTS: Mapping[Key, Rule] = {
    Key("eligibility", "GET"): Rule(
        KNOWN,
        {
            OWN: [(SUBJECTS, OK)],
            **dict.fromkeys((STAFFED, OTHER, *MISSING), _BY_ONLOOKERS),
        },
    ),
    Key("changes", "GET"): same_for_all(READERS, all=OK),
}

_SUBMISSIONS: Mapping[Key, Rule] = {
    Key("submissions", "GET"): Rule(KNOWN, {ALL: [(OWNERS, rows(OWN)), (KNOWN - OWNERS, rows())]}),
    Key("submissions", "POST"): same_for_all(ENROLLERS, all=ACCEPTED),
    Key("submission", "GET"): _of_one_submission(OK),
    Key("submission_events", "GET"): _of_one_submission(OK),
    Key("submission_outcomes", "GET"): _of_one_submission(OK),
    Key("submission_cancel", "POST"): _of_one_submission(ACCEPTED),
    Key("submission_cancel", "POST", "finished"): _of_one_submission(_FINISHED),
    Key("crosswalk_missing", "GET"): Rule(
        ENROLLERS,
        {
            OWN: [(ENROLLERS, OK)],
            OTHER: [(ADMINS, OK), (ENROLLERS - ADMINS, NOT_FOUND)],
            ABSENT: [(ENROLLERS, NOT_FOUND)],
        },
    ),
}

_SEES_COURSES = COURSE_KEEPERS | READERS

_RECORDS: Mapping[Key, Rule] = {
    Key("courses", "GET"): same_for_all(_SEES_COURSES, all=OK),
    Key("courses", "POST"): same_for_all(COURSE_KEEPERS, all=OK),
    Key("courses", "PATCH"): same_for_all(COURSE_KEEPERS, all=OK),
    Key("course", "GET"): same_for_all(_SEES_COURSES, there=OK, absent=_NO_COURSE),
    Key("course", "PUT"): same_for_all(COURSE_KEEPERS, there=OK, absent=CREATED),
    Key("course", "PATCH"): same_for_all(COURSE_KEEPERS, there=OK, absent=_NO_COURSE),
    Key("course", "DELETE"): same_for_all(COURSE_KEEPERS, there=DELETED, absent=_NO_COURSE),
    Key("learners", "POST"): same_for_all(STAFFS, all=OK),
    Key("learner", "GET"): Rule(
        READERS | SUBJECTS,
        {
            OWN: [(READERS | SUBJECTS, OK)],
            OTHER: [(READERS, OK), (SUBJECTS - READERS, _NO_LEARNER)],
            ABSENT: [(READERS | SUBJECTS, _NO_LEARNER)],
        },
    ),
    Key("learner", "PUT"): same_for_all(STAFFS, there=OK, absent=CREATED),
    Key("learner", "DELETE"): same_for_all(STAFFS, there=DELETED, absent=_NO_LEARNER),
    Key("invitation", "GET"): same_for_all(ENROLLERS, there=OK, absent=NOT_FOUND),
    Key("invitation", "PUT"): same_for_all(ENROLLERS, there=OK, absent=CREATED),
    Key("invitation", "DELETE"): same_for_all(ENROLLERS, there=DELETED, absent=NOT_FOUND),
    Key("crosswalk", "GET"): same_for_all(ENROLLERS, all=OK),
    Key("crosswalk", "PUT"): same_for_all(STAFFS, all=OK),
    Key("crosswalk", "PATCH"): same_for_all(STAFFS, all=OK),
    Key("course_role", "GET"): same_for_all(READERS, there=OK, absent=NOT_FOUND),
    Key("course_role", "PUT"): same_for_all(STAFFS, there=OK, absent=CREATED),
    Key("course_role", "DELETE"): same_for_all(STAFFS, there=DELETED, absent=NOT_FOUND),
}

_WEBHOOKS: Mapping[Key, Rule] = {
    Key("webhooks", "GET"): same_for_all(ADMINS, all=OK),
    Key("webhooks", "POST"): same_for_all(ADMINS, all=CREATED),
    Key("webhook", "GET"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("webhook", "PUT"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("webhook", "DELETE"): same_for_all(ADMINS, there=DELETED, absent=NOT_FOUND),
    Key("destination_reconcile", "POST"): same_for_all(ADMINS, there=ACCEPTED, absent=NOT_FOUND),
    Key("destination_pull", "POST"): same_for_all(ADMINS, there=ACCEPTED, absent=NOT_FOUND),
    Key("destination_import", "POST"): same_for_all(ADMINS, there=ACCEPTED, absent=NOT_FOUND),
    Key("destination_report", "GET"): same_for_all(ADMINS, absent=NOT_FOUND),
    Key("webhook_rotate", "POST"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("webhook_enable", "POST"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("webhook_disable", "POST"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("webhook_redeliver", "POST"): same_for_all(ADMINS, there=ACCEPTED, absent=NOT_FOUND),
    Key("webhook_deliveries", "GET"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("webhook_delivery_redeliver", "POST"): same_for_all(ADMINS, absent=NOT_FOUND),
}

_DESTINATIONS: Mapping[Key, Rule] = {
    Key("destinations", "GET"): same_for_all(ADMINS, all=OK),
    Key("destination", "GET"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("destination", "PUT"): same_for_all(ADMINS, there=OK, absent=CREATED),
    Key("destination", "DELETE"): same_for_all(ADMINS, there=DELETED, absent=NOT_FOUND),
    Key("destination_pause", "POST"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("destination_resume", "POST"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("destination_retry", "POST"): same_for_all(ADMINS, there=ACCEPTED, absent=NOT_FOUND),
    Key("destination_deliveries", "GET"): same_for_all(ADMINS, there=OK, absent=NOT_FOUND),
    Key("destination_delivery_retry", "POST"): same_for_all(ADMINS, absent=NOT_FOUND),
}

SERVICE: Mapping[Key, Rule] = {
    Key("metrics", "GET"): same_for_all(READERS, all=OK),
    **_DESTINATIONS,
    **_WEBHOOKS,
    **_ENROLLMENTS,
    **_SUBMISSIONS,
    **_RECORDS,
    **{
        Key(route, "GET"): same_for_all(EVERYBODY, all=OK)
        for route in ("livez", "readyz", "openapi", "docs", "docs_reasons", "docs_style")
    },
}
