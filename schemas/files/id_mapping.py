"""Translates external ids to ids of this service."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from enrollment.domain.codes import IdKind
from enrollment.domain.crosswalks import MAX_EXTERNAL_ID, ExternalId
from schemas.fields import is_course_key, parse_email, parse_username
from schemas.findings import Finding, Rule, finding
from schemas.identity.damaged_ids import is_damaged_id

#: Members of a body with ids, their kind, the member for the translated id, and the check whether
#: an id can be one of this service.
_IDS: tuple[tuple[str, IdKind, str, Callable[[str], object]], ...] = (
    ("course_id", IdKind.COURSE, "course_id", is_course_key),
    ("email", IdKind.LEARNER, "user", parse_email),
    ("user", IdKind.LEARNER, "user", parse_username),
)


def ids_in(body: Mapping[str, Any], source: str) -> Iterator[ExternalId]:
    """Yields the external ids in a body."""
    for member, kind, _, _ in _IDS:
        value = body.get(member)
        if isinstance(value, str) and 0 < len(value) <= MAX_EXTERNAL_ID:
            yield ExternalId(source, kind, value)


def translate_ids(
    body: Mapping[str, Any], source: str, mapping: Mapping[ExternalId, str]
) -> tuple[dict[str, Any], list[Finding]]:
    """Returns the body with translated ids, and findings on ids without an entry.

    An id without an entry stays if it can be one of this service. A user's id that is an e-mail
    address becomes the e-mail: it must not become a username.
    """
    translated = dict(body)
    missing: list[Finding] = []
    for member, kind, target, may_be_internal in _IDS:
        value = body.get(member)
        if not isinstance(value, str) or (member == "email" and body.get("user")):
            continue
        internal_id = mapping.get(ExternalId(source, kind, value))
        if internal_id is not None:
            del translated[member]
            translated[target] = internal_id
        elif member == "user" and parse_email(value) is not None:
            translated["email"] = translated.pop(member)
        elif not may_be_internal(value):
            missing.append(_not_mapped(member, value, kind))
    return translated, missing


def has_learner(
    body: Mapping[str, Any], source: str | None, mapping: Mapping[ExternalId, str]
) -> bool:
    """Returns whether the crosswalk has the learner's id of a body."""
    user = body.get("user") or body.get("email")
    if source is None or not isinstance(user, str):
        return False
    return ExternalId(source, IdKind.LEARNER, user) in mapping


def _not_mapped(member: str, value: str, kind: IdKind) -> Finding:
    if is_damaged_id(value):
        return finding(member, value, Rule.DAMAGED_ID)
    return {**finding(member, value, Rule.NOT_IN_CROSSWALK), "kind": kind.value}
