"""Makes the console: its pages, and the gate before them."""

from dataclasses import dataclass
from typing import cast

from api_gateway.console.gate import ConsoleGate
from api_gateway.console.navigation import ConsolePage
from api_gateway.console.pages.admin.clients import client_pages
from api_gateway.console.pages.admin.destinations import destination_pages
from api_gateway.console.pages.admin.keys import key_pages
from api_gateway.console.pages.admin.webhooks import webhook_pages
from api_gateway.console.pages.assets import asset_pages
from api_gateway.console.pages.courses import course_pages
from api_gateway.console.pages.crosswalks import crosswalk_pages
from api_gateway.console.pages.health import health_pages
from api_gateway.console.pages.learners import learner_pages
from api_gateway.console.pages.login import login_pages
from api_gateway.console.pages.overview import overview_pages
from api_gateway.console.pages.submission import submission_pages
from api_gateway.console.pages.submissions import submission_list_pages
from api_gateway.console.pages.upload import upload_pages
from api_gateway.console.renderer import Renderer
from api_gateway.console.sessions.sessions import ConsoleSessions
from api_gateway.console.shared import ConsoleParts
from api_gateway.http.error_handlers import WritePage
from api_gateway.parts import Parts
from api_gateway.resources.outcomes import OutcomesResource
from api_gateway.resources.submission import CancelResource
from api_gateway.resources.submissions import SubmissionsResource


@dataclass(frozen=True, slots=True)
class Console:
    """The pages with their gate, and what renders problems on them."""

    pages: tuple[ConsolePage, ...]
    gate: ConsoleGate
    write_problem: WritePage


def make_console(parts: Parts, resources: dict[str, object]) -> Console:
    """Makes the console; `resources` are those of the API by route name."""
    sessions = ConsoleSessions(
        parts.auth_database, parts.authenticator, parts.shared_key, parts.throttle, parts.now
    )
    shared = ConsoleParts(
        parts=parts,
        sessions=sessions,
        renderer=Renderer(),
        submissions=cast("SubmissionsResource", resources["submissions"]),
        cancellation=cast("CancelResource", resources["submission_cancel"]),
        outcomes=cast("OutcomesResource", resources["submission_outcomes"]),
    )
    pages = (
        *asset_pages(),
        *login_pages(shared),
        *overview_pages(shared),
        *upload_pages(shared),
        *submission_list_pages(shared),
        *submission_pages(shared),
        *learner_pages(shared),
        *course_pages(shared),
        *crosswalk_pages(shared, resources),
        *health_pages(shared, resources),
        *webhook_pages(shared, resources),
        *destination_pages(shared, resources),
        *key_pages(shared),
        *client_pages(shared),
    )
    gate = ConsoleGate(sessions, parts.throttle, {page.template: page for page in pages})
    return Console(pages, gate, shared.renderer.write_problem)
