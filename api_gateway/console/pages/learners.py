"""Learners: found by name or e-mail, with their enrollments and the history of these."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, may_use
from api_gateway.console.shared import ConsoleParts, see_other, with_parameter
from api_gateway.http.pagination import encode_cursor, invalid_cursor, read_cursor
from api_gateway.resources.outcomes import member_of
from api_gateway.status.learner_rows import LearnerSearch, SearchPosition
from enrollment.domain.destinations.deliveries import Arrival
from enrollment.domain.errors import LearnerNotFound
from enrollment.domain.events import RecordedEvent
from enrollment.domain.identity import canonical_email, canonical_text
from enrollment.domain.model import EPOCH, Learner, microseconds
from enrollment.storage import events, invitations, learners
from enrollment.storage.destinations.arrivals import find_arrivals
from enrollment.storage.invitations import StoredInvitation
from enrollment.storage.people.learner_search import find_beginning
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import EnrollmentFilters, EnrollmentView
from enrollment.storage.views.submission_views import SubmissionPageKey
from enrollment.storage.webhooks.deliveries import MessageState, find_states
from schemas.events import public_event_id
from schemas.fields import is_storable
from schemas.outcomes import dump_outcome

#: Enrollments that are shown, those of them with their history, events of each and of all.
_ENROLLMENTS, _HISTORIES, _EVENTS, _SHOWN_EVENTS = 200, 25, 50, 200
_FOUND = 20
#: The largest number of a batch in its file that can be stored.
_MAX_ORDINAL = 2**31 - 1
_READ = (("console_learners", "GET"), ("enrollments", "GET"))
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
    #: By position of an event: the messages about it. Empty for callers who may not see them.
    messages: dict[int, list[MessageState]]
    #: Whether there may be more enrollments, or more events, than are shown.
    is_long: bool


@dataclass(frozen=True, slots=True)
class LearnerSearchResource:
    """The search for a learner."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Leads to the learner of a username or an e-mail; shows those that begin with it."""
        text = canonical_text((req.get_param("q") or "").strip())
        username = await self.shared.parts.database.read(_find_username, text) if text else None
        if username is not None:
            see_other(resp, f"/learners/{quote(username, safe='')}")
            return
        found = await self.shared.parts.lists.read(_find_beginning, text) if text else []
        self.shared.renderer.write(req, resp, "learners.html", q=text, found=found)

    on_head = on_get


@dataclass(frozen=True, slots=True)
class LearnerPageResource:
    """One learner."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response, username: str) -> None:
        """Shows the learner with enrollments, history and invitations."""
        facts = await self.shared.parts.lists.read(
            _read_facts,
            canonical_text(username),
            sees_messages=may_use(req.context.caller, ("webhook_deliveries", "GET")),
        )
        self.shared.renderer.write(
            req, resp, "learner.html", facts=facts, history_bounds=(_HISTORIES, _SHOWN_EVENTS)
        )

    on_head = on_get


@dataclass(frozen=True, slots=True)
class LearnerRowsResource:
    """The requests about a learner in the caller's submissions; for admins, in all."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows requests about a username or an e-mail, those of the newest submissions first."""
        user = canonical_text((req.get_param("user") or "").strip())
        parts, caller = self.shared.parts, req.context.caller
        names = {user}
        if may_use(caller, ("console_learners", "GET")):
            names |= await parts.database.read(_find_names, user)
        is_of_all = caller.may("admin")
        owner = None if is_of_all else caller.name
        found = await LearnerSearch(parts.lists, owner, names - {""}).run(_read_start(req))
        self.shared.renderer.write(
            req,
            resp,
            "rows.html",
            user=user,
            is_of_all=is_of_all,
            rows=[
                (
                    row.submission,
                    {**dump_outcome(row.outcome), **member_of(row.submission, row.outcome.line)},
                )
                for row in found.rows
            ],
            searched_since=found.searched_since,
            next=_link_to(req, found.next),
        )

    on_head = on_get


def _read_start(req: Request) -> SearchPosition:
    """Reads where to search on. Raises Problem 400."""
    text = read_cursor(req)
    if text is None:
        return SearchPosition()
    try:
        received_at, id_, ordinal = text.split(" ")
        at = EPOCH + timedelta(microseconds=int(received_at))
        position = SearchPosition(SubmissionPageKey(at, UUID(id_)), int(ordinal))
    except (ValueError, OverflowError) as error:
        raise invalid_cursor(req.get_param("cursor") or "") from error
    if not 0 <= position.ordinal <= _MAX_ORDINAL:
        raise invalid_cursor(req.get_param("cursor") or "")
    return position


def _link_to(req: Request, position: SearchPosition | None) -> str | None:
    if position is None or position.after is None:
        return None
    received_at, id_ = position.after
    key = f"{microseconds(received_at)} {id_} {position.ordinal}"
    return with_parameter(req, "cursor", encode_cursor(key))


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


def _find_beginning(session: Session, text: str) -> list[Learner]:
    return find_beginning(session, text, limit=_FOUND) if is_storable(text) else []


def _read_facts(session: Session, username: str, *, sees_messages: bool) -> LearnerFacts:
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
    history = sorted(history, key=lambda event: event.position, reverse=True)[:_SHOWN_EVENTS]
    email = learner.email
    return LearnerFacts(
        learner,
        enrolled,
        history,
        [] if email is None else invitations.find_by_email(session, email),
        _read_arrivals(session, username, enrolled),
        _read_messages(session, history) if sees_messages else {},
        len(enrolled) > _HISTORIES or len(history) == _SHOWN_EVENTS,
    )


def _read_messages(session: Session, history: list[RecordedEvent]) -> dict[int, list[MessageState]]:
    positions = {public_event_id(event): event.position for event in history}
    found: dict[int, list[MessageState]] = {}
    for each in find_states(session, positions):
        found.setdefault(positions[each.message_id], []).append(each)
    return found


def _read_arrivals(
    session: Session, username: str, enrolled: list[EnrollmentView]
) -> dict[str, list[Arrival]]:
    found: dict[str, list[Arrival]] = {}
    for arrival in find_arrivals(session, [(view.course_id, username) for view in enrolled]):
        found.setdefault(arrival.course_id, []).append(arrival)
    return found
