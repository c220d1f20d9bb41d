"""Semantics of Open edX's bulk enrollment: unknown users are invited.

Each outcome carries the state before and after its row, which the response needs. See "Bulk
enrollment" in docs/openedx-compatibility.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import BatchDecision, EnrollmentKey
from enrollment.domain.codes import FAILURE_CODES, Code, Reason
from enrollment.domain.events import EnrollmentState, state_of
from enrollment.domain.model import Invitation, Learner, Outcome, Request
from enrollment.storage import invitations, learners
from schemas.requests.parsed import ParsedRequest
from worker.processing.load import LoadedState
from worker.processing.row_resolution import DecodedRow, resolve


class BulkEnrollInvitations:
    """The learners and invitations that the rows of one list name, as the rows change them."""

    def __init__(self, session: Session, rows: Sequence[DecodedRow], *, auto_enroll: bool) -> None:
        requests = [row.request for row in rows if row.request is not None]
        usernames = {_possible_username(request) for request in requests}
        emails = {request.email for request in requests if request.email is not None}
        by_username = learners.find_many(session, usernames)
        self._by_username = {name: loaded.learner for name, loaded in by_username.items()}
        by_email = learners.find_by_email(session, emails)
        self._by_email = {email: loaded.learner for email, loaded in by_email.items()}
        keys = {key for one in requests if (key := self._invitation_key(one)) is not None}
        self._invitations = invitations.find_many(session, keys)
        self._known = frozenset(self._invitations)
        self._states: dict[EnrollmentKey, EnrollmentState] = {}
        self._auto_enroll = auto_enroll
        self._changed: set[EnrollmentKey] = set()

    def resolve(self, row: DecodedRow) -> Request | Outcome:
        """Returns the request to decide, or an `unchanged` outcome for a user without an account.

        An account that is inactive counts as none, unless the row withdraws. Without an account
        and without an e-mail to invite the row is refused.
        """
        request = row.request
        if request is None or row.is_poisonous:
            return resolve(row, {})
        learner = self._learner(request)
        if learner is not None and (learner.is_active or not request.is_active):
            named = request._replace(username=learner.username, email=None)
            return resolve(row._replace(request=named, doubt=None), {})
        code, reason = Code.UNCHANGED, None
        if self._invitation_key(request) is None:
            code, reason = Code.REFUSED, Reason.LEARNER_NOT_FOUND
        user = request.email or request.username
        return Outcome(row.line, user, request.course_id, code, reason)

    def outcomes(
        self,
        rows: Sequence[DecodedRow],
        settled: Sequence[Request | Outcome],
        decision: BatchDecision,
        loaded: LoadedState,
    ) -> Iterator[Outcome]:
        """Yields the outcomes in order, each with the state before and after its row."""
        self._states = {
            key: state_of(stored.enrollment) for key, stored in loaded.enrollments.items()
        }
        changes = {change.position: change.after for change in decision.changes}
        decided = iter(enumerate(decision.outcomes))
        for row, item in zip(rows, settled, strict=True):
            position, outcome = (-1, item) if isinstance(item, Outcome) else next(decided)
            if row.request is None or outcome.code in FAILURE_CODES:
                yield outcome
                continue
            before = self._state(row.request)
            if position in changes:
                self._states[self._enrollment_key(row.request)] = changes[position]
            self._update_invitation(row.request, has_account=not isinstance(item, Outcome))
            after = self._state(row.request)
            yield outcome._replace(details={"before": before, "after": after})

    def write(self, session: Session, *, now: datetime) -> None:
        """Saves the invitations that were added or changed, and deletes those withdrawn.

        Raises Conflict where one that is saved was inserted or deleted since it was read.
        """
        saved = self._changed & self._invitations.keys()
        invitations.save_auto_enroll(
            session,
            saved - self._known,
            saved & self._known,
            auto_enroll=self._auto_enroll,
            now=now,
        )
        invitations.delete_all(session, self._changed - self._invitations.keys())

    def _learner(self, request: ParsedRequest) -> Learner | None:
        by_email = self._by_email.get(request.email or "")
        return by_email or self._by_username.get(_possible_username(request))

    def _enrollment_key(self, request: ParsedRequest) -> EnrollmentKey:
        learner = self._learner(request)
        return request.course_id, "" if learner is None else learner.username

    def _invitation_key(self, request: ParsedRequest) -> EnrollmentKey | None:
        """Returns the course and the e-mail of an invitation; None without an e-mail."""
        learner = self._learner(request)
        email = request.email if learner is None else learner.email
        return None if email is None else (request.course_id, email)

    def _update_invitation(self, request: ParsedRequest, *, has_account: bool) -> None:
        """Withdraws the invitation of a user who is unenrolled; invites one without an account."""
        key = self._invitation_key(request)
        if key is None:
            return
        if not request.is_active:
            if self._invitations.pop(key, None) is not None:
                self._changed.add(key)
        elif not has_account:
            invitation = self._invitations.get(key, Invitation(*key))
            self._invitations[key] = invitation._replace(auto_enroll=self._auto_enroll)
            self._changed.add(key)

    def _state(self, request: ParsedRequest) -> Mapping[str, object]:
        enrollment = self._states.get(self._enrollment_key(request))
        key = self._invitation_key(request)
        invitation = None if key is None else self._invitations.get(key)
        state: dict[str, object] = {
            "user": self._learner(request) is not None,
            "enrollment": enrollment is not None and enrollment.is_active,
            "allowed": invitation is not None,
            "auto_enroll": invitation is not None and invitation.auto_enroll,
        }
        if request.cohort is not None:
            state["cohort"] = None if enrollment is None else enrollment.cohort
        return state


def _possible_username(request: ParsedRequest) -> str:
    """Returns the username that a row may mean: an identifier with an `@` can be one as well."""
    return request.username or request.email or ""
