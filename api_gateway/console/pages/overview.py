"""The first page: open and recent submissions."""

from dataclasses import dataclass

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.shared import ConsoleParts
from api_gateway.resources.submissions import read_submission_page
from enrollment.domain.codes import State

_OPEN, _RECENT = 20, 10


def overview_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the route."""
    return [ConsolePage(CONSOLE_PATH, OverviewResource(shared), {"GET": (("submissions", "GET"),)})]


@dataclass(frozen=True, slots=True)
class OverviewResource:
    """The submissions that the caller sent lately, and those that are still open."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the page."""
        caller: Caller = req.context.caller
        lists = self.shared.parts.lists
        unfinished = frozenset({State.QUEUED, State.RUNNING})
        running = await lists.read(
            read_submission_page, caller.name, states=unfinished, after=None, limit=_OPEN
        )
        recent = await lists.read(
            read_submission_page, caller.name, states=frozenset(), after=None, limit=_RECENT
        )
        self.shared.renderer.write(
            req,
            resp,
            "overview.html",
            running=running.submissions,
            recent=[one for one in recent.submissions if one.finished_at is not None],
            now=self.shared.parts.now(),
        )

    on_head = on_get
