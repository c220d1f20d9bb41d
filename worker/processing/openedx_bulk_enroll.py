"""Lists in the form of upstream's bulk enrollment: who is not known here yet is invited.

Each row says how things stood before it and after it, which is what such a list is answered.
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
from worker.processing.decode import DecodedRow, resolve
from worker.processing.load import LoadedState


class BulkEnrollInvitations:
    """Whom the rows of one list name, and who of them is invited where."""

    def __init__(self, session: Session, rows: Sequence[DecodedRow], *, auto_enroll: bool) -> None:
        asked = [row.request for row in rows if row.request is not None]
        names = {_possible_username(one) for one in asked}
        emails = {one.email for one in asked if one.email is not None}
        known = learners.find_many(session, names)
        self._by_name = {name: loaded.learner for name, loaded in known.items()}
        with_email = learners.find_by_email(session, emails)
        self._by_email = {email: loaded.learner for email, loaded in with_email.items()}
        pairs = {pair for one in asked if (pair := self._invitation_key(one)) is not None}
        self._invitations = invitations.find_many(session, pairs)
        self._standing: dict[EnrollmentKey, EnrollmentState] = {}
        self._auto_enroll = auto_enroll
        self._touched: set[EnrollmentKey] = set()

    def resolve(self, row: DecodedRow) -> Request | Outcome:
        """A row as a request to be judged, or its outcome: that of a guest changes nothing."""
        asked = row.request
        if asked is None or row.is_poisonous:
            return resolve(row, {})
        learner = self._learner(asked)
        if learner is not None and (learner.is_active or not asked.is_active):
            named = asked._replace(username=learner.username, email=None)
            return resolve(row._replace(request=named), {})
        code, reason = Code.UNCHANGED, None
        if self._invitation_key(asked) is None:
            code, reason = Code.REFUSED, Reason.LEARNER_NOT_FOUND
        return Outcome(row.line, asked.email or asked.username, asked.course_id, code, reason)

    def outcomes(
        self,
        rows: Sequence[DecodedRow],
        settled: Sequence[Request | Outcome],
        judgement: BatchDecision,
        loaded: LoadedState,
    ) -> Iterator[Outcome]:
        """The outcomes in order, each with what stood before it and after it."""
        self._standing = {key: state_of(it.enrollment) for key, it in loaded.enrollments.items()}
        changes = {change.position: change.after for change in judgement.changes}
        judged = iter(enumerate(judgement.outcomes))
        for row, item in zip(rows, settled, strict=True):
            position, outcome = (-1, item) if isinstance(item, Outcome) else next(judged)
            if row.request is None or outcome.code in FAILURE_CODES:
                yield outcome
                continue
            before = self._state(row.request)
            if position in changes:
                self._standing[self._key(row.request)] = changes[position]
            self._update_invitation(row.request, is_guest=isinstance(item, Outcome))
            after = self._state(row.request)
            yield outcome._replace(details={"before": before, "after": after})

    def write(self, session: Session, *, now: datetime) -> None:
        """Keep the invitations as they are now."""
        made = [self._invitations[pair] for pair in self._touched & self._invitations.keys()]
        invitations.save_all(session, made, now=now)
        invitations.delete_all(session, self._touched - self._invitations.keys())

    def _learner(self, asked: ParsedRequest) -> Learner | None:
        return self._by_email.get(asked.email or "") or self._by_name.get(_possible_username(asked))

    def _key(self, asked: ParsedRequest) -> EnrollmentKey:
        learner = self._learner(asked)
        return asked.course_id, "" if learner is None else learner.username

    def _invitation_key(self, asked: ParsedRequest) -> EnrollmentKey | None:
        """The course and the e-mail that an invitation would be for."""
        learner = self._learner(asked)
        email = asked.email if learner is None else learner.email
        return None if email is None else (asked.course_id, email)

    def _update_invitation(self, asked: ParsedRequest, *, is_guest: bool) -> None:
        """Who leaves is no longer invited; who is not here yet is."""
        pair = self._invitation_key(asked)
        if pair is None:
            return
        if not asked.is_active:
            if self._invitations.pop(pair, None) is not None:
                self._touched.add(pair)
        elif is_guest:
            kept = self._invitations.get(pair, Invitation(*pair))
            self._invitations[pair] = kept._replace(auto_enroll=self._auto_enroll)
            self._touched.add(pair)

    def _state(self, asked: ParsedRequest) -> Mapping[str, object]:
        stands = self._standing.get(self._key(asked))
        pair = self._invitation_key(asked)
        invitation = None if pair is None else self._invitations.get(pair)
        state: dict[str, object] = {
            "user": self._learner(asked) is not None,
            "enrollment": stands is not None and stands.is_active,
            "allowed": invitation is not None,
            "auto_enroll": invitation is not None and invitation.auto_enroll,
        }
        if asked.cohort is not None:
            state["cohort"] = None if stands is None else stands.cohort
        return state


def _possible_username(asked: ParsedRequest) -> str:
    """The username that a row may mean: an e-mail can be one as well."""
    return asked.username or asked.email or ""
