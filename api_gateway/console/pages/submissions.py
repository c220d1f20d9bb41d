"""The list of submissions: the caller's, and for admins those of all callers."""

from dataclasses import dataclass

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import ADMIN_SCOPE, check_caller
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.shared import ConsoleParts, drop_empty_parameters, with_parameter
from api_gateway.resources.common.submission_params import read_states, read_submissions_cursor
from api_gateway.resources.submissions import (
    SubmissionPage,
    complete_page,
    read_submission_page,
)
from enrollment.domain.codes import State
from enrollment.storage.views import submission_views
from enrollment.storage.views.submission_views import SubmissionPageKey

_PAGE = 50
#: The parameter that says whose submissions are shown, and its value for those of all callers.
_CALLERS, _ALL = "callers", "all"


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
        """Shows a page of the list, of those in one state if `state` is given.

        With `callers=all` an admin, who may open any submission, sees those of all callers.
        """
        drop_empty_parameters(req)
        caller: Caller = req.context.caller
        states = read_states(req)
        lists, after = self.shared.parts.lists, read_submissions_cursor(req)
        is_of_all = req.get_param(_CALLERS) == _ALL
        if is_of_all:
            check_caller(caller, ADMIN_SCOPE)
            state = next(iter(states), None)
            found = await lists.read(_read_page_of_all, state, after)
        else:
            found = await lists.read(
                read_submission_page, caller.name, states=states, after=after, limit=_PAGE
            )
        self.shared.renderer.write(
            req,
            resp,
            "submissions.html",
            submissions=found.submissions,
            next=with_parameter(req, "cursor", found.cursor),
            states=list(State),
            selected=req.get_param("state"),
            is_of_all=is_of_all,
            now=self.shared.parts.now(),
        )

    on_head = on_get


def _read_page_of_all(
    session: Session, state: State | None, after: SubmissionPageKey | None
) -> SubmissionPage:
    found = submission_views.page_of_all(session, state=state, after=after, limit=_PAGE)
    states = frozenset() if state is None else frozenset({state})
    return complete_page(session, found, states=states, limit=_PAGE)
