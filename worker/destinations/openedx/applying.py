"""Applies the state of an enrollment to an LMS, so that a repetition changes nothing."""

import json
from typing import Any

from enrollment.domain.destinations.records import ApplyResult, WantedState
from worker.destinations.openedx.answers import LmsAnswer, LmsFailure
from worker.destinations.openedx.session import LmsSession

ENROLLMENT_PATH = "/api/enrollment/v1/enrollment"
#: Statuses with which the LMS would refuse a repetition as well.
PERMANENT = frozenset({400, 403, 404, 406})
_OK, _ACCEPTED, _BAD_REQUEST = 200, 202, 400
#: Answers of a proxy that waited no longer for the LMS, and failures after the request was sent:
#: the LMS may go on with it.
_OF_PROXIES = frozenset({502, 504})
_AFTER_SENDING = frozenset({"timeout", "connection_lost"})
#: An instance of this service as the LMS answers with the outcome; Open edX always does.
_HEADERS = {"Prefer": "wait=8"}
#: Part of the answer of 1.6 that says why an enrollment was not deactivated.
_MISMATCH = "mode mismatch"


def apply_state(session: LmsSession, state: WantedState) -> ApplyResult:
    """Sends a state, and checks by the answer that the LMS has it now.

    An LMS does not deactivate an enrollment in another mode: that one is deactivated as it is
    first. One that answers with another state than was sent gets it once more, as its own clients
    do.
    """
    try:
        answer = _post(session, state, mode=state.mode)
        if not state.is_active and _is_mismatch(answer):
            answer = _post(session, state, mode=None)
            if answer.is_success:
                answer = _post(session, state, mode=state.mode)
        elif answer.status == _OK and _has_arrived(answer, state) is False:
            answer = _post(session, state, mode=state.mode)
    except LmsFailure as failure:
        return _without_answer(failure)
    return _result(answer, state)


def _post(session: LmsSession, state: WantedState, *, mode: str | None) -> LmsAnswer:
    return session.post(ENROLLMENT_PATH, render_state(state, mode=mode), _HEADERS)


def render_state(state: WantedState, *, mode: str | None) -> bytes:
    """Returns the body that servers send; without attributes those of the LMS stay."""
    members: dict[str, Any] = {
        "user": state.username,
        "is_active": state.is_active,
        "course_details": {"course_id": state.course_id},
    }
    if mode is not None:
        members["mode"] = mode
    if state.attributes and mode is not None:
        members["enrollment_attributes"] = [each._asdict() for each in state.attributes]
    if state.is_forced:
        members["force_enrollment"] = True
    return json.dumps(members, separators=(",", ":")).encode()


def _is_mismatch(answer: LmsAnswer) -> bool:
    message = (answer.members() or {}).get("message")
    return (
        answer.status == _BAD_REQUEST and isinstance(message, str) and _MISMATCH in message.lower()
    )


def _has_arrived(answer: LmsAnswer, state: WantedState) -> bool | None:
    """Returns whether the answer shows the state; None if it shows none."""
    members = answer.members() or {}
    mode, is_active = members.get("mode"), members.get("is_active")
    if not isinstance(mode, str) or not isinstance(is_active, bool):
        return None
    return (mode, is_active) == (state.mode, state.is_active)


def _result(answer: LmsAnswer, state: WantedState) -> ApplyResult:
    error, is_permanent = _error_of(answer, state)
    return ApplyResult(
        answer.status,
        answer.stored,
        error,
        is_permanent,
        answer.retry_after,
        may_follow=answer.status in _OF_PROXIES,
    )


def _error_of(answer: LmsAnswer, state: WantedState) -> tuple[str | None, bool]:
    """Returns the error, None for a state that arrived, and whether it is permanent."""
    if answer.is_success and answer.status != _ACCEPTED:
        has_arrived = _has_arrived(answer, state)
        if has_arrived is None:
            return "malformed_answer", False
        return (None, False) if has_arrived else ("not_applied", True)
    if answer.status == _ACCEPTED:
        return "not_finished", False
    if answer.is_refused_credential:
        return "unauthorized", False
    is_redirect = 300 <= answer.status < 400  # noqa: PLR2004
    return "redirect" if is_redirect else "refused", answer.status in PERMANENT


def _without_answer(failure: LmsFailure) -> ApplyResult:
    """Returns the result without an answer; or with that of the token request, to be repeated."""
    answer = failure.answer
    if answer is None:
        return ApplyResult(error=failure.name, may_follow=failure.name in _AFTER_SENDING)
    return ApplyResult(answer.status, answer.stored, failure.name, retry_after=answer.retry_after)
