"""The list of the caller's submissions."""

from dataclasses import dataclass

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.shared import ConsoleParts, drop_empty_parameters, with_parameter
from api_gateway.resources.common.submission_params import read_states, read_submissions_cursor
from api_gateway.resources.submissions import read_submission_page
from enrollment.domain.codes import State

_PAGE = 50


def submission_list_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the route."""
    template = f"{CONSOLE_PATH}/submissions"
    return [
        ConsolePage(template, SubmissionListResource(shared), {"GET": (("submissions", "GET"),)})
    ]


@dataclass(frozen=True, slots=True)
class SubmissionListResource:
    """The caller's submissions, newest first."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows a page of the list, of those in one state if `state` is given."""
        drop_empty_parameters(req)
        caller: Caller = req.context.caller
        states = read_states(req)
        found = await self.shared.parts.lists.read(
            read_submission_page,
            caller.name,
            states=states,
            after=read_submissions_cursor(req),
            limit=_PAGE,
        )
        self.shared.renderer.write(
            req,
            resp,
            "submissions.html",
            submissions=found.submissions,
            next=with_parameter(req, "cursor", found.cursor),
            states=list(State),
            selected=req.get_param("state"),
            now=self.shared.parts.now(),
        )

    on_head = on_get
