"""The parts of the table of relations: answers, relations, and what a route answers whom."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.support.relations.callers import EVERYBODY, INVALID, KNOWN, NOBODY, Callers

#: Relations of the caller to what the request is about.
OWN = "own"
#: Another learner's, in a course in which the callers of `ROLES` have their role.
STAFFED = "in a course with roles"
#: Somebody else's: another learner's in a course elsewhere, or another caller's.
OTHER = "somebody else's"
#: It does not exist: the learner is unknown, or the thing itself is.
ABSENT = "absent"
#: The learner is known, and has no enrollment in the course.
NOT_ENROLLED = "not enrolled"
#: The course is unknown.
NO_COURSE = "no such course"
#: A thing that belongs to no caller, such as a course.
THERE = "there"
#: The request is not about a single thing.
ALL = "all"

#: What does not exist, in each way.
MISSING = (ABSENT, NOT_ENROLLED, NO_COURSE)


class Answer(NamedTuple):
    """What a caller is answered."""

    status: int
    #: The code of the problem.
    code: str = ""
    #: Whose things are listed, as names of relations; None where nothing is listed.
    rows: frozenset[str] | None = None
    #: There is no body, and so no Content-Type.
    is_empty: bool = False

    @property
    def is_hidden(self) -> bool:
        """Whether it must not tell that something exists."""
        return self.status == 404 or self.rows == frozenset()


OK = Answer(200)
CREATED = Answer(201)
ACCEPTED = Answer(202)
DELETED = Answer(204, is_empty=True)
#: Open edX's 200 for an enrollment that is not there.
NONE = Answer(200, is_empty=True)
#: Open edX's 404 for somebody else's.
HIDDEN = Answer(404, is_empty=True)
NOT_FOUND = Answer(404, "not_found")
NO_CREDENTIALS = Answer(401, "not_authenticated")
NOT_PERMITTED = Answer(403, "not_permitted")


def rows(*relations: str) -> Answer:
    """Returns a list of things with these relations to the caller."""
    return Answer(200, rows=frozenset(relations))


class Key(NamedTuple):
    """A route and method; `form` tells different things apart that one route serves."""

    route: str
    method: str
    form: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self))


#: Answers to groups of callers, which do not overlap.
Lines = Sequence[tuple[Callers, Answer]]


class Rule(NamedTuple):
    """Who passes the check of a route, and what they are answered by relation."""

    passes: Callers
    answers: Mapping[str, Lines]


def same_for_all(passes: Callers, **answers: Answer) -> Rule:
    """Returns a rule with one answer for whoever passes, by the name of the relation."""
    return Rule(
        passes, {name.replace("_", " "): [(passes, answer)] for name, answer in answers.items()}
    )


class Case(NamedTuple):
    """A caller in one relation to the thing, and the answer."""

    caller: str
    answer: Answer


def cases_of(rule: Rule, relation: str) -> list[Case]:
    """Returns a case for each caller to whom the relation is possible, also those refused."""
    lines = rule.answers[relation]
    told = [Case(caller, answer) for callers, answer in lines for caller in sorted(callers)]
    if rule.passes == EVERYBODY:
        return told
    refused = [(KNOWN - rule.passes, NOT_PERMITTED), (INVALID | {NOBODY}, NO_CREDENTIALS)]
    return told + [
        Case(caller, answer) for callers, answer in refused for caller in sorted(callers)
    ]
