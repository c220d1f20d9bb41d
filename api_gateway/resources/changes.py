"""`/changes`: the change feed, in pages or as a stream."""

from dataclasses import dataclass

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from api_gateway.feed.change_filter import ChangeFilter, read_change_filter
from api_gateway.feed.change_stream import ChangeStreams
from api_gateway.http.pagination import MAX_PAGE, read_size_parameter
from api_gateway.http.problems import bad_request
from api_gateway.http.responses import write_json
from api_gateway.status.event_stream import prefers_events
from enrollment.storage import events
from enrollment.storage.outbox.installation import installation_id
from schemas.events import ChangesJson, dump_event, event_source
from schemas.findings import finding

#: Maximum number of events in a response unless the caller sets `limit`.
DEFAULT_CHANGES = 1_000
_MAX_POSITION = 1 << 62
_MAX_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesResource:
    """The change feed: its positions have no gaps, so a reader never misses an event."""

    lists: ListReader
    streams: ChangeStreams

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the events after a position, or streams them if that is what the client accepts.

        At the end of the feed `next` equals `since`, with any filter.
        """
        resp.set_header("Vary", "Accept")
        since = _read_integer("since", req.get_param("since"), 0, _MAX_POSITION)
        name, _ = read_size_parameter(req)
        limit = _read_integer(name, req.get_param(name), DEFAULT_CHANGES, MAX_PAGE)
        wanted = read_change_filter(req)
        if req.method != "HEAD" and prefers_events(req):
            seen = req.get_header("Last-Event-ID")
            position = _read_integer("Last-Event-ID", seen, since, _MAX_POSITION)
            self.streams.respond(req, resp, position, wanted)
            return
        page = await self.lists.read(_dump_page, since, limit or DEFAULT_CHANGES, wanted)
        write_json(resp, page)

    on_head = on_get


def _dump_page(session: Session, since: int, limit: int, wanted: ChangeFilter) -> ChangesJson:
    """Returns the events that pass the filter among the next ones after a position."""
    found = events.events_after(session, since, limit=limit)
    if not found:
        return {"changes": [], "next": since}
    source = event_source(installation_id(session))
    dumped = [(event, dump_event(event, source=source)) for event in found]
    passed = [
        body
        for event, body in dumped
        if wanted.passes(body["type"], event.course_id, event.username)
    ]
    return {"changes": passed, "next": found[-1].position}


def _read_integer(name: str, text: str | None, default: int, maximum: int) -> int:
    """Reads a non-negative integer. Raises Problem 400 for anything else."""
    if text is None or text == "":
        return default
    is_whole = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_whole or int(text) > maximum:
        found = finding(name, text, "range", expected=f"0 to {maximum}")
        raise bad_request(
            "invalid_parameter", f"{name} must be a whole number from 0 to {maximum}.", found
        )
    return int(text)
