"""`/eligibility/{username},{course_id}`: whether a request would be accepted now.

It is decided by the rules of the worker, with the state as it is, and nothing is written.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import FREE_MODES, may_read_about
from api_gateway.database import Database
from api_gateway.http.problems import Problem
from api_gateway.http.responses import write_json
from api_gateway.resources.common.submission_params import invalid_option, is_mode
from api_gateway.resources.courses import check_course_key
from api_gateway.resources.learners import check_username
from enrollment.domain import model
from enrollment.domain.batch_decision import BatchContext, EnrollmentKey, decide_batch
from enrollment.domain.codes import CallerKind, Code, Reason
from enrollment.domain.identity import canonical_text
from enrollment.domain.model import Learner, Outcome, precedence_of
from enrollment.storage import courses, enrollments, events, invitations, learners
from enrollment.storage.courses import LoadedCourse
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.enrollments import LoadedEnrollment
from enrollment.storage.people import course_roles
from schemas.fields import MAX_MODE
from schemas.findings import Rule
from schemas.openedx.eligibility import dump_eligibility

#: Ranks above every request that was received before.
_AFTER_ALL = 1 << 61


class Question(NamedTuple):
    """A request that is decided and not stored; a mode of None is not stated."""

    caller: Caller
    username: str
    course_id: str
    mode: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilityResource:
    """Decides a request of the caller for a learner as a worker would."""

    database: Database
    default_mode: str
    accepts_unknown_learners: bool

    async def on_get(self, req: Request, resp: Response, names: str) -> None:
        """Responds with the outcome that the request would have.

        Raises Problem 400, and 404 for a learner whose enrollments the caller may not read.
        """
        question = read_question(req, names)
        outcome = await self.database.read(self._decide, question)
        body = dump_eligibility(
            outcome,
            username=question.username,
            course_id=question.course_id,
            mode=question.mode,
        )
        write_json(resp, body)

    on_head = on_get

    def _decide(self, session: Session, question: Question) -> Outcome:
        caller, username, course_id, mode = question
        if caller.kind is CallerKind.LEARNER and mode not in FREE_MODES:
            return Outcome(1, username, course_id, Code.REFUSED, Reason.NOT_PERMITTED)
        now = database_now(session)
        request = model.Request(
            line=1,
            username=username,
            course_id=course_id,
            effective_at=now,
            precedence=precedence_of(now, stated=False, intake=_AFTER_ALL, line=1),
            rights=caller.rights,
            mode=mode,
        )
        context = self._load_context(session, question, now)
        return decide_batch([request], context).outcomes[0]

    def _load_context(self, session: Session, question: Question, now: datetime) -> BatchContext:
        """Loads the state that the rules ask for, without any lock."""
        username, course_id = question.username, question.course_id
        key = course_id, username
        course = courses.load_for_batch(session, [course_id], lock_capped=False).get(course_id)
        loaded = learners.find_many(session, [username]).get(username)
        learner = _with_own_email(loaded and loaded.learner, question)
        stored = None
        if course is not None and loaded is not None:
            row = loaded.id, course.id
            stored = enrollments.find_many(session, [row]).get(row)
        email = learner and learner.email
        return BatchContext(
            now=now,
            courses={} if course is None else {course_id: course.course},
            enrollments={} if stored is None else {key: stored.enrollment},
            learners={} if learner is None else {username: learner},
            invitations=invitations.find_many(session, [(course_id, email)] if email else ()),
            withdrawn_by_others=_withdrawn_by_others(session, key, course, stored),
            course_staff={
                (of_course, person)
                for person, of_course in course_roles.staff_pairs(session, [(username, course_id)])
            },
            site_default=self.default_mode,
            accepts_unknown_learners=self.accepts_unknown_learners,
        )


def _with_own_email(learner: Learner | None, question: Question) -> Learner | None:
    """Adds the e-mail address of the caller's token, which a request would store."""
    caller = question.caller
    if caller.username != question.username or caller.email is None:
        return learner
    if learner is None:
        return None
    return learner if learner.email is not None else learner._replace(email=caller.email)


def _withdrawn_by_others(
    session: Session,
    key: EnrollmentKey,
    course: LoadedCourse | None,
    stored: LoadedEnrollment | None,
) -> Collection[EnrollmentKey]:
    """Returns the key if another caller than the learner withdrew a paid enrollment."""
    if course is None or stored is None or stored.enrollment.is_active:
        return ()
    if not course.course.is_paid(stored.enrollment.mode):
        return ()
    callers = events.find_callers(session, [stored.event_id])
    return () if callers.get(stored.event_id) == f"user:{key[1]}" else (key,)


def read_question(req: Request, names: str) -> Question:
    """Parses path and query; without a comma the caller is meant. Raises Problem 400, 404."""
    caller: Caller = req.context.caller
    before, comma, after = names.partition(",")
    username, course_id = (canonical_text(before), after) if comma else (caller.username, names)
    if username is None or not may_read_about(caller, username):
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.")
    mode = req.get_param("mode")
    if mode is not None and not is_mode(mode):
        raise invalid_option("mode", mode, Rule.LENGTH, f"1 to {MAX_MODE} characters")
    return Question(caller, check_username(username), check_course_key(course_id), mode)
