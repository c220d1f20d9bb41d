"""Ids of another system, and what they are here."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from enrollment.domain.codes import IdKind
from enrollment.domain.crosswalks import MAX_THEIRS, Theirs
from schemas.fields import is_course_key, parse_email, parse_username
from schemas.findings import Finding, finding

#: The rule that an id breaks for which there is nothing here, and which is none of ours.
NOT_IN_CROSSWALK = "not_in_crosswalk"

#: Members of a body that hold ids; the member that ours stands in; whether a text may be one.
_IDS: tuple[tuple[str, IdKind, str, Callable[[str], object]], ...] = (
    ("course_id", IdKind.COURSE, "course_id", is_course_key),
    ("email", IdKind.LEARNER, "user", parse_email),
    ("user", IdKind.LEARNER, "user", parse_username),
)


def ids_in(body: Mapping[str, Any], source: str) -> Iterator[Theirs]:
    """The ids that a body names."""
    for member, kind, _, _ in _IDS:
        value = body.get(member)
        if isinstance(value, str) and 0 < len(value) <= MAX_THEIRS:
            yield Theirs(source, kind, value)


def translated(
    body: Mapping[str, Any], source: str, ours: Mapping[Theirs, str]
) -> tuple[dict[str, Any], list[Finding]]:
    """The body in our ids, and what is missing; an id that can be one of ours stays as it is.

    What looks like an e-mail is whose e-mail it is: nobody is given it for a name.
    """
    done = dict(body)
    missing: list[Finding] = []
    for member, kind, becomes, may_be_ours in _IDS:
        value = body.get(member)
        if not isinstance(value, str) or (member == "email" and body.get("user")):
            continue
        known = ours.get(Theirs(source, kind, value))
        if known is not None:
            del done[member]
            done[becomes] = known
        elif member == "user" and parse_email(value) is not None:
            done["email"] = done.pop(member)
        elif not may_be_ours(value):
            missing.append({**finding(member, value, NOT_IN_CROSSWALK), "kind": kind.value})
    return done, missing
