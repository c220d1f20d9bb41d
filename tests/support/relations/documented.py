"""The tables of docs/openedx-compatibility.md that the table of relations decides."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.support.relations.callers import (
    ADMIN,
    ENROLL,
    EVERYBODY,
    KNOWN,
    LEARNER,
    READ,
    READERS,
    STAFF,
    STAFFS,
    SUBJECTS,
    Callers,
)
from tests.support.relations.fields import APPLIED, FIELDS, IGNORED
from tests.support.relations.model import ALL, OTHER, OWN, STAFFED, Answer, Key, Lines, Rule
from tests.support.relations.table import TABLE

#: Headings of the columns by caller.
COLUMNS = {
    LEARNER: "learner",
    "course staff": "staff of the course",
    STAFF: "staff token",
    ENROLL: "key `enroll`",
    READ: "key `read`",
    ADMIN: "key `admin`",
}
_DETAIL, _ENROLL = Key("enrollment_detail", "GET"), Key("enrollment", "POST")


class Privilege(NamedTuple):
    """A line of the documentation, and where the table says it."""

    name: str
    key: Key
    relation: str


PRIVILEGES = (
    Privilege("read their own enrollment", _DETAIL, OWN),
    Privilege("read somebody else's enrollment", _DETAIL, STAFFED),
    Privilege("list somebody else's enrollments", Key("enrollment", "GET"), STAFFED),
    Privilege("list all enrollments (`/enrollments`)", Key("enrollments", "GET"), OTHER),
    Privilege("enroll themselves", _ENROLL, OWN),
    Privilege("enroll somebody else", _ENROLL, STAFFED),
    Privilege("enroll somebody by e-mail alone", _ENROLL._replace(form="by e-mail"), OTHER),
)


def privilege_lines() -> Iterator[str]:
    """Yields the lines of the table "Privileges"."""
    yield _line(["may", *COLUMNS.values()])
    yield _line(["---"] * (1 + len(COLUMNS)), space="")
    for name, key, relation in PRIVILEGES:
        rule = TABLE[key]
        refused: Lines = [(KNOWN - rule.passes, Answer(403))]
        yield _privilege(name, [*rule.answers[relation], *refused])
    for field in FIELDS:
        yield _privilege(field.name, field.all_lines)


def _privilege(name: str, lines: Sequence[tuple[Callers, str | Answer]]) -> str:
    answers = {caller: answer for callers, answer in lines for caller in callers}
    return _line([name, *(_cell(answers.get(caller)) for caller in COLUMNS)])


def _cell(answer: str | Answer | None) -> str:
    if answer is None:
        return ""
    if isinstance(answer, str):
        return {APPLIED: "yes", IGNORED: "no: ignored"}[answer]
    if answer.rows is not None:
        words = {frozenset(): "none", frozenset({STAFFED}): "in their courses"}
        return words.get(answer.rows, "yes")
    return "yes" if answer.status < 400 else f"no: {answer.status}"


def _line(cells: Sequence[str], space: str = " ") -> str:
    return "|" + "|".join(f"{space}{cell}{space}" if cell else " " for cell in cells) + "|"


#: Words for the callers of routes whose resource decides more than the table can say.
_WORDS = {"access_token": "anybody with the credentials of a client"}
_BY_CALLERS = {
    EVERYBODY: "everybody, without credentials",
    STAFFS: "staff, scope `admin`",
    READERS: "staff, scope `read`",
}


def who_may(key: Key) -> str:
    """Returns the words of the table "Routes" for those who may."""
    rule = TABLE[key]
    if key.route in _WORDS:
        return _WORDS[key.route]
    if rule.passes in _BY_CALLERS:
        return _BY_CALLERS[rule.passes]
    if _is_about_subject(rule):
        return "any token, about its subject"
    if key.method == "GET" and any(
        answer.status == 404 for _, answer in rule.answers.get(OTHER, ())
    ):
        return "the learner, staff, scope `enroll` or `read`"
    return "any caller"


def _is_about_subject(rule: Rule) -> bool:
    """Whether only tokens are answered with more than nothing."""
    lines = rule.answers.get(ALL, ())
    shown = [callers for callers, answer in lines if answer.status < 400 and not answer.is_empty]
    return bool(shown) and frozenset().union(*shown) == SUBJECTS
