"""Filters of the change feed: by type, course and learner."""

from typing import NamedTuple

from falcon.asgi import Request

from api_gateway.http.headers import restore_plus
from api_gateway.http.problems import Problem, bad_request
from enrollment.domain.codes import ChangeKind
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.identity import canonical_text
from schemas.fields import parse_username
from schemas.findings import Finding, Rule, finding

#: Most values of one filter.
MAX_CHANGE_FILTER_VALUES = 100
#: The types of events.
EVENT_TYPES = tuple(f"enrollment.{kind.value}" for kind in ChangeKind)


class ChangeFilter(NamedTuple):
    """Which events are wanted; an empty set wants all."""

    types: frozenset[str] = frozenset()
    course_ids: frozenset[str] = frozenset()
    usernames: frozenset[str] = frozenset()

    def passes(self, type_: str, course_id: str, username: str) -> bool:
        """Whether an event is wanted."""
        return (
            (not self.types or type_ in self.types)
            and (not self.course_ids or course_id in self.course_ids)
            and (not self.usernames or username in self.usernames)
        )


def read_change_filter(req: Request) -> ChangeFilter:
    """Reads the filters, each a comma-separated list. Raises Problem 400 for values of no event."""
    wanted = ChangeFilter(
        _values(req, "type"),
        frozenset(map(restore_plus, _values(req, "course_id"))),
        frozenset(map(canonical_text, _values(req, "username"))),
    )
    for type_ in sorted(wanted.types - set(EVENT_TYPES)):
        raise _unusable(finding("type", type_, Rule.ONE_OF, expected=EVENT_TYPES), "type")
    for course_id in sorted(wanted.course_ids):
        if parse_course_key(course_id) is None:
            raise _unusable(finding("course_id", course_id, Rule.COURSE_KEY), "course_id")
    for username in sorted(wanted.usernames):
        if parse_username(username) is None:
            raise _unusable(finding("username", username, Rule.CHARACTERS), "username")
    return wanted


def _values(req: Request, name: str) -> frozenset[str]:
    """Splits a parameter at commas; it may be repeated. Raises Problem 400."""
    if not req.has_param(name):
        return frozenset()
    given = ",".join(req.get_param_as_list(name) or [])
    values = frozenset(value for value in given.split(",") if value)
    if not 0 < len(values) <= MAX_CHANGE_FILTER_VALUES:
        limit = f"1 to {MAX_CHANGE_FILTER_VALUES} values"
        raise _unusable(finding(name, given, Rule.LENGTH, expected=limit), name)
    return values


def _unusable(found: Finding, name: str) -> Problem:
    sentences = {
        "type": f"type must be a comma-separated list of {', '.join(EVENT_TYPES)}.",
        "course_id": "course_id must be a comma-separated list of course keys.",
        "username": "username must be a comma-separated list of usernames.",
    }
    most = f" At most {MAX_CHANGE_FILTER_VALUES} are allowed, and one is needed."
    return bad_request("invalid_parameter", sentences[name] + most, found)
