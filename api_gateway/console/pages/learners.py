"""Learners: found by name or e-mail, with their enrollments and the history of these."""

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.shared import ConsoleParts, see_other
from enrollment.domain.errors import LearnerNotFound
from enrollment.domain.events import RecordedEvent
from enrollment.domain.identity import canonical_email, canonical_text
from enrollment.domain.model import Learner
from enrollment.storage import events, invitations, learners
from enrollment.storage.invitations import StoredInvitation
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import EnrollmentFilters, EnrollmentView
from schemas.fields import is_storable

#: Enrollments that are shown, those of them with their history, and events of each.
_ENROLLMENTS, _HISTORIES, _EVENTS = 200, 25, 50
_READ = (("learner", "GET"), ("enrollments", "GET"))


def learner_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    template = f"{CONSOLE_PATH}/learners"
    return [
        ConsolePage(template, LearnerSearchResource(shared), {"GET": _READ}),
        ConsolePage(f"{template}/{{username}}", LearnerPageResource(shared), {"GET": _READ}),
    ]


class LearnerFacts(NamedTuple):
    """A learner with what is known about their enrollments."""

    learner: Learner
    enrollments: list[EnrollmentView]
    #: Newest first.
    events: list[RecordedEvent]
    invitations: list[StoredInvitation]


@dataclass(frozen=True, slots=True)
class LearnerSearchResource:
    """The search for a learner."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Leads to the learner of a username or an e-mail; says if there is none."""
        text = canonical_text((req.get_param("q") or "").strip())
        username = await self.shared.parts.database.read(_find_username, text) if text else None
        if username is not None:
            see_other(resp, f"/learners/{quote(username, safe='')}")
            return
        self.shared.renderer.write(req, resp, "learners.html", q=text)

    on_head = on_get


@dataclass(frozen=True, slots=True)
class LearnerPageResource:
    """One learner."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response, username: str) -> None:
        """Shows the learner with enrollments, history and invitations."""
        facts = await self.shared.parts.lists.read(_read_facts, canonical_text(username))
        self.shared.renderer.write(req, resp, "learner.html", facts=facts, q=facts.learner.username)

    on_head = on_get


def _find_username(session: Session, text: str) -> str | None:
    if not is_storable(text):
        return None
    found = learners.find(session, text)
    if found is None and "@" in text:
        email = canonical_email(text)
        loaded = learners.find_by_email(session, [email]).get(email)
        found = None if loaded is None else loaded.learner
    return None if found is None else found.username


def _read_facts(session: Session, username: str) -> LearnerFacts:
    """Reads what is known of a learner. Raises LearnerNotFound."""
    learner = learners.find(session, username) if is_storable(username) else None
    if learner is None:
        raise LearnerNotFound(username[:100])
    filters = EnrollmentFilters(usernames=(username,))
    enrolled, _ = enrollment_views.page(session, filters, after=None, limit=_ENROLLMENTS)
    history: list[RecordedEvent] = []
    for view in enrolled[:_HISTORIES]:
        newest = enrollment_views.newest_event(session, username, view.course_id)
        if newest is not None:
            history += events.history(session, newest)[-_EVENTS:]
    history.sort(key=lambda event: event.position, reverse=True)
    email = learner.email
    return LearnerFacts(
        learner,
        enrolled,
        history,
        [] if email is None else invitations.find_by_email(session, email),
    )
