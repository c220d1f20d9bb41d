"""Translates ids of another system to ours."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from enrollment.domain.codes import IdKind
from enrollment.domain.crosswalks import MAX_EXTERNAL_ID, ExternalId
from schemas.fields import is_course_key, parse_email, parse_username
from schemas.findings import Finding, finding

#: The rule for an id that has no entry in the crosswalk and is none of ours.
NOT_IN_CROSSWALK = "not_in_crosswalk"

#: Members of a body with ids, their kind, the member of our id, and the check for such an id.
_IDS: tuple[tuple[str, IdKind, str, Callable[[str], object]], ...] = (
    ("course_id", IdKind.COURSE, "course_id", is_course_key),
    ("email", IdKind.LEARNER, "user", parse_email),
    ("user", IdKind.LEARNER, "user", parse_username),
)


def ids_in(body: Mapping[str, Any], source: str) -> Iterator[ExternalId]:
    """Yield the ids that a body has."""
    for member, kind, _, _ in _IDS:
        value = body.get(member)
        if isinstance(value, str) and 0 < len(value) <= MAX_EXTERNAL_ID:
            yield ExternalId(source, kind, value)


def translate_ids(
    body: Mapping[str, Any], source: str, ours: Mapping[ExternalId, str]
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the body with our ids, and findings on ids without an entry.

    An id without an entry that can be one of ours stays. A user's id that is an e-mail address
    becomes the e-mail: it must not become a username.
    """
    done = dict(body)
    missing: list[Finding] = []
    for member, kind, becomes, may_be_ours in _IDS:
        value = body.get(member)
        if not isinstance(value, str) or (member == "email" and body.get("user")):
            continue
        known = ours.get(ExternalId(source, kind, value))
        if known is not None:
            del done[member]
            done[becomes] = known
        elif member == "user" and parse_email(value) is not None:
            done["email"] = done.pop(member)
        elif not may_be_ours(value):
            missing.append({**finding(member, value, NOT_IN_CROSSWALK), "kind": kind.value})
    return done, missing
