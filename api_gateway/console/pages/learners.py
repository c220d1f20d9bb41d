"""Learners: found by name or e-mail, with their enrollments and the history of these."""

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, may_use
from api_gateway.console.shared import ConsoleParts, see_other
from api_gateway.status.learner_rows import find_rows
from enrollment.domain.destinations.deliveries import Arrival
from enrollment.domain.errors import LearnerNotFound
from enrollment.domain.events import RecordedEvent
from enrollment.domain.identity import canonical_email, canonical_text
from enrollment.domain.model import Learner
from enrollment.storage import events, invitations, learners
from enrollment.storage.destinations.arrivals import find_arrivals
from enrollment.storage.invitations import StoredInvitation
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import EnrollmentFilters, EnrollmentView
from schemas.fields import is_storable
from schemas.outcomes import dump_outcome

#: Enrollments that are shown, those of them with their history, and events of each.
_ENROLLMENTS, _HISTORIES, _EVENTS = 200, 25, 50
_READ = (("learner", "GET"), ("enrollments", "GET"))
_READ_ROWS = (("submissions", "GET"), ("submission_outcomes", "GET"))


def learner_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    template = f"{CONSOLE_PATH}/learners"
    return [
        ConsolePage(template, LearnerSearchResource(shared), {"GET": _READ}),
        ConsolePage(f"{CONSOLE_PATH}/rows", LearnerRowsResource(shared), {"GET": _READ_ROWS}),
        ConsolePage(f"{template}/{{username}}", LearnerPageResource(shared), {"GET": _READ}),
    ]


class LearnerFacts(NamedTuple):
    """A learner with what is known about their enrollments."""

    learner: Learner
    enrollments: list[EnrollmentView]
    #: Newest first.
    events: list[RecordedEvent]
    invitations: list[StoredInvitation]
    #: By course: whether the state has arrived in each destination.
    arrivals: dict[str, list[Arrival]]


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


@dataclass(frozen=True, slots=True)
class LearnerRowsResource:
    """The rows about a learner in the caller's own files."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows rows about a username or an e-mail, those of the newest files first."""
        user = canonical_text((req.get_param("user") or "").strip())
        parts, caller = self.shared.parts, req.context.caller
        names = {user}
        if may_use(caller, ("learner", "GET")):
            names |= await parts.database.read(_find_names, user)
        found = await find_rows(parts.lists, caller.name, names - {""})
        self.shared.renderer.write(
            req,
            resp,
            "rows.html",
            user=user,
            rows=[(row.submission, dump_outcome(row.outcome)) for row in found.rows],
            searched_since=found.searched_since,
        )

    on_head = on_get


def _find_names(session: Session, text: str) -> set[str]:
    """Returns username and e-mail of the learner who has one of them."""
    username = _find_username(session, text)
    learner = None if username is None else learners.find(session, username)
    return set() if learner is None else {learner.username, learner.email or learner.username}


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
        _read_arrivals(session, username, enrolled),
    )


def _read_arrivals(
    session: Session, username: str, enrolled: list[EnrollmentView]
) -> dict[str, list[Arrival]]:
    found: dict[str, list[Arrival]] = {}
    for arrival in find_arrivals(session, [(view.course_id, username) for view in enrolled]):
        found.setdefault(arrival.course_id, []).append(arrival)
    return found
