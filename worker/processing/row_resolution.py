"""Resolves decoded rows to requests, with effective time and precedence, or to outcomes."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from enrollment.domain.codes import Code, IdKind, Reason
from enrollment.domain.model import Outcome, Request, Rights, precedence_of
from enrollment.domain.rules import MAX_CLOCK_SKEW, format_timestamp
from schemas.files.formats.applicability import NotApplicable
from schemas.findings import Rule
from schemas.requests.parsed import ParsedRequest

#: Usernames by e-mail where no row names its learner by e-mail.
NO_USERNAMES: Mapping[str, Any] = MappingProxyType({})
#: Creates a NamedTuple without its `__new__`, which is half of the cost per row (decision 14).
_new = tuple.__new__


class DecodedRow(NamedTuple):
    """One row of a claimed batch, with the caller and the time of its submission."""

    batch_id: int
    submission_id: UUID
    caller: str
    rights: Rights
    received_at: datetime
    #: Position of the submission in the order of intake.
    intake: int
    line: int
    #: None: the row is invalid, for the reasons in `findings`.
    request: ParsedRequest | None
    findings: tuple[Mapping[str, object], ...] | None = None
    #: Learner and course that an invalid row names, as far as they could be read.
    user: str | None = None
    course_id: str | None = None
    #: Whether deciding it makes its whole batch fail.
    is_poisonous: bool = False
    #: Set if the row asks for nothing here.
    not_applicable: NotApplicable | None = None
    #: As in `ParsedRow`.
    doubt: Mapping[str, object] | None = None


def resolve(
    row: DecodedRow, usernames: Mapping[str, str], known: Mapping[str, str | None] = NO_USERNAMES
) -> Request | Outcome:
    """Returns the request to decide, or the outcome of a row that fails before any decision.

    `usernames` maps the e-mails of known learners to their usernames; `known` has the e-mails of
    learners by the usernames of rows with a doubt.
    """
    request = row.request
    if row.is_poisonous:
        return _failed(row, Code.INVALID, Reason.INTERNAL_ERROR, ())
    if request is None:
        return _without_request(row)
    username, stated = request.username or usernames.get(request.email or ""), request.requested_at
    if row.doubt is not None or request.email is not None or stated is not None:
        found = _learner_finding(row, request, usernames, known) or _time_finding(row, request)
        if found is not None:
            return _failed(row, Code.INVALID, Reason.INVALID_ROW, (found,))
    if username is None:
        return _failed(row, Code.REFUSED, Reason.LEARNER_NOT_FOUND, ())
    # A caller with the right to state the time has all of these rights.
    if not row.rights.state_time and not _is_permitted(row.rights, request):
        return _failed(row, Code.REFUSED, Reason.NOT_PERMITTED, ())
    effective_at = row.received_at if stated is None else min(stated, row.received_at)
    precedence = precedence_of(
        effective_at, stated=stated is not None, intake=row.intake, line=row.line
    )
    fields = (username, request.course_id, effective_at, precedence, row.rights, *request[3:8])
    return _new(Request, (row.line, *fields))


def _without_request(row: DecodedRow) -> Outcome:
    """Returns the outcome of a row that is skipped or cannot be read."""
    if row.not_applicable is None:
        return _unread(row, row.findings or ())
    reason, details = row.not_applicable.reason, row.not_applicable.details
    return Outcome(row.line, row.user, row.course_id, Code.SKIPPED, reason, details)


def _unread(row: DecodedRow, findings: tuple[Mapping[str, object], ...]) -> Outcome:
    """Returns the outcome of a row with findings: refused if all of them are on unknown ids."""
    if not findings or any(item["rule"] != Rule.NOT_IN_CROSSWALK for item in findings):
        return _failed(row, Code.INVALID, Reason.INVALID_ROW, findings)
    is_course = any(item.get("kind") == IdKind.COURSE for item in findings)
    reason = Reason.COURSE_NOT_FOUND if is_course else Reason.LEARNER_NOT_FOUND
    return _failed(row, Code.REFUSED, reason, findings)


def _is_permitted(rights: Rights, request: ParsedRequest) -> bool:
    """Returns whether the caller may state the time, the attributes and the cohort."""
    has_details = request.attributes is not None or request.cohort is not None
    has_time = request.requested_at is not None
    return (rights.state_time or not has_time) and (rights.is_privileged or not has_details)


def _learner_finding(
    row: DecodedRow,
    request: ParsedRequest,
    usernames: Mapping[str, str],
    known: Mapping[str, str | None],
) -> Mapping[str, object] | None:
    """Returns what is wrong with the learner that a row names."""
    email, username = request.email, request.username
    if row.doubt is not None and username is not None:
        if row.doubt["rule"] == Rule.CONTRADICTION:
            counts = known.get(username) not in {None, email}
        else:
            counts = username not in known
        if counts:
            return row.doubt
    if email is None or username is None or usernames.get(email, username) == username:
        return None
    return {"field": "email", "value": email, "rule": Rule.CONTRADICTION.value}


def _time_finding(row: DecodedRow, request: ParsedRequest) -> Mapping[str, object] | None:
    """Returns what is wrong with the time that a trusted caller states."""
    stated = request.requested_at
    if stated is None or not row.rights.state_time or stated <= row.received_at + MAX_CLOCK_SKEW:
        return None
    value = format_timestamp(stated)
    return {"field": "requested_at", "value": value, "rule": Rule.IN_THE_FUTURE.value}


def _failed(
    row: DecodedRow, code: Code, reason: Reason, findings: tuple[Mapping[str, object], ...]
) -> Outcome:
    request = row.request
    return Outcome(
        row.line,
        row.user if request is None else request.username or request.email,
        row.course_id if request is None else request.course_id,
        code,
        reason,
        {"errors": list(findings)} if findings else None,
    )
