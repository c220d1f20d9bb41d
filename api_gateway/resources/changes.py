"""`/changes`: the change feed."""

from dataclasses import dataclass

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from api_gateway.http.pagination import MAX_PAGE, read_size_parameter
from api_gateway.http.problems import bad_request
from api_gateway.http.responses import write_json
from enrollment.storage import events
from schemas.events import ChangesJson, EventJson, dump_event
from schemas.findings import finding

#: Maximum number of events in a response unless the caller sets `limit`.
DEFAULT_CHANGES = 1_000
_MAX_POSITION = 1 << 62
_MAX_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesResource:
    """The change feed: its positions have no gaps, so a reader never misses an event."""

    lists: ListReader

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the events after a position; at the end of the feed `next` equals `since`."""
        since = _read_integer(req, "since", 0, _MAX_POSITION)
        name, _ = read_size_parameter(req)
        limit = _read_integer(req, name, DEFAULT_CHANGES, MAX_PAGE) or DEFAULT_CHANGES
        found = await self.lists.read(_dump_events_after, since, limit)
        last = found[-1]["data"]["position"] if found else since
        page: ChangesJson = {"changes": found, "next": last}
        write_json(resp, page)

    on_head = on_get


def _dump_events_after(session: Session, since: int, limit: int) -> list[EventJson]:
    return [dump_event(event) for event in events.events_after(session, since, limit=limit)]


def _read_integer(req: Request, name: str, default: int, maximum: int) -> int:
    """Reads a non-negative integer parameter. Raises Problem 400 for anything else."""
    text = req.get_param(name)
    if text is None or text == "":
        return default
    is_whole = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_whole or int(text) > maximum:
        found = finding(name, text, "range", expected=f"0 to {maximum}")
        raise bad_request(
            "invalid_parameter", f"{name} must be a whole number from 0 to {maximum}.", found
        )
    return int(text)
