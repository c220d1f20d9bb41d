"""Destinations: systems that must end in the same state, and the log of deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from falcon.asgi import Request, Response

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, form_page
from api_gateway.console.pages.admin.destination_reports import report_pages
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import (
    ConsoleParts,
    check_is_shown,
    drop_empty_parameters,
    parse_number,
    read_count,
    see_other,
    split_list,
    with_parameter,
)
from api_gateway.http.problems import Problem
from api_gateway.resources.destinations.destinations import (
    DestinationResource,
    PauseResource,
)
from api_gateway.resources.destinations.state_deliveries import (
    RetryAllResource,
    RetryResource,
    StateDeliveriesResource,
)
from api_gateway.status.health.destination_backlog import report_backlogs
from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import DESTINATION_KINDS
from enrollment.storage.destinations import registry, reports
from schemas.destinations.members import DEFAULT_CONCURRENCY, MAX_CONCURRENCY

_DELIVERIES, _REPORTS = 50, 10
_LIST, _PUT = (("destinations", "GET"),), (("destination", "PUT"),)
_SEE = (("destination", "GET"), ("destination_deliveries", "GET"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationOperations:
    """The resources of the API whose functions the pages call."""

    shared: ConsoleParts
    one: DestinationResource
    log: StateDeliveriesResource
    again: RetryResource
    failed: RetryAllResource


def destination_pages(shared: ConsoleParts, resources: Mapping[str, object]) -> list[ConsolePage]:
    """Returns the routes; `resources` are those of the API by route name."""
    operations = DestinationOperations(
        shared=shared,
        one=cast("DestinationResource", resources["destination"]),
        log=cast("StateDeliveriesResource", resources["destination_deliveries"]),
        again=cast("RetryResource", resources["destination_delivery_retry"]),
        failed=cast("RetryAllResource", resources["destination_retry"]),
    )
    base = f"{CONSOLE_PATH}/destinations"
    one = f"{base}/{{destination}}"
    pauses = {
        name: PausePageResource(cast("PauseResource", resources[f"destination_{name}"]))
        for name in ("pause", "resume")
    }
    return [
        ConsolePage(base, DestinationsPageResource(operations), {"GET": _LIST, "POST": _PUT}),
        ConsolePage(one, DestinationPageResource(operations), {"GET": _SEE}),
        *(form_page(f"{one}/{name}", form, f"destination_{name}") for name, form in pauses.items()),
        form_page(f"{one}/retry", RetryAllPageResource(operations), "destination_retry"),
        form_page(
            f"{one}/deliveries/{{delivery}}/retry",
            RetryPageResource(operations),
            "destination_delivery_retry",
        ),
        *report_pages(shared, resources),
    ]


@dataclass(frozen=True, slots=True)
class DestinationsPageResource:
    """All destinations, and the form of a new one."""

    operations: DestinationOperations

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the destinations, with what waits for each."""
        await self._show(req, resp, {}, None)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Adds a destination, and shows it; or shows why it was refused."""
        fields = await read_form(req)
        try:
            name = fields.get("name", "").strip()
            members = self.operations.one.parts.load_members(_members_of(fields), name)
            await self.operations.one.put(members, is_new=True)
        except Problem as problem:
            check_is_shown(problem)
            await self._show(req, resp, fields, problem)
            return
        see_other(resp, f"/destinations/{name}")

    async def _show(
        self, req: Request, resp: Response, fields: dict[str, str], problem: Problem | None
    ) -> None:
        shared = self.operations.shared
        backlogs = await shared.parts.lists.read(report_backlogs)
        shared.renderer.write(
            req,
            resp,
            "admin/destinations.html",
            status=HTTPStatus.OK if problem is None else problem.status,
            destinations=await shared.parts.lists.read(registry.find_all),
            backlogs={each.backlog.name: each for each in backlogs},
            kinds=DESTINATION_KINDS,
            concurrency=(DEFAULT_CONCURRENCY, MAX_CONCURRENCY),
            fields=fields,
            problem=None if problem is None else problem.body(),
        )


@dataclass(frozen=True, slots=True)
class DestinationPageResource:
    """One destination, with its deliveries and its reports."""

    operations: DestinationOperations

    async def on_get(self, req: Request, resp: Response, destination: str) -> None:
        """Shows the destination and a page of its deliveries."""
        drop_empty_parameters(req)
        found = await self.operations.one.find(destination)
        page, cursor = await self.operations.log.read_page(req, destination, limit=_DELIVERIES)
        shared = self.operations.shared
        lists = shared.parts.lists
        backlogs = await lists.read(report_backlogs)
        shared.renderer.write(
            req,
            resp,
            "admin/destination.html",
            stored=found,
            backlog=next((it for it in backlogs if it.backlog.name == destination), None),
            deliveries=page,
            next=with_parameter(req, "cursor", cursor),
            states=list(DeliveryState),
            selected=req.get_param("state"),
            queued=read_count(req, "queued"),
            reports=await lists.read(reports.list_newest, found.id, limit=_REPORTS),
            now=shared.parts.now(),
        )

    on_head = on_get


@dataclass(frozen=True, slots=True)
class PausePageResource:
    """A pause of a destination, or its end."""

    pause: PauseResource

    async def on_post(self, req: Request, resp: Response, destination: str) -> None:
        """Pauses or resumes the destination, and shows it."""
        await read_form(req)
        changed = await self.pause.change(destination)
        see_other(resp, f"/destinations/{changed.destination.name}")


@dataclass(frozen=True, slots=True)
class RetryPageResource:
    """One state, once more."""

    operations: DestinationOperations

    async def on_post(self, req: Request, resp: Response, destination: str, delivery: str) -> None:
        """Queues the state, and shows the destination."""
        await read_form(req)
        await self.operations.again.retry(destination, delivery)
        see_other(resp, f"/destinations/{destination}?queued=1")


@dataclass(frozen=True, slots=True)
class RetryAllPageResource:
    """All states that failed, once more."""

    operations: DestinationOperations

    async def on_post(self, req: Request, resp: Response, destination: str) -> None:
        """Queues the states, and shows the destination with their number."""
        await read_form(req)
        queued = await self.operations.failed.retry(destination)
        see_other(resp, f"/destinations/{destination}?queued={queued}")


def _members_of(fields: Mapping[str, str]) -> dict[str, object]:
    """Returns the destination of a form as the API reads it."""
    given = {name: text.strip() for name, text in fields.items()}
    auth = {
        name: given[name] for name in ("client_id", "client_secret", "api_key") if given.get(name)
    }
    members: dict[str, object] = {
        "kind": given.get("kind", ""),
        "url": given.get("url", ""),
        "courses": split_list(given.get("courses", "")),
        "paused": bool(given.get("paused")),
    }
    if auth:
        members["auth"] = auth
    for name in ("concurrency", "requests_per_second"):
        if given.get(name):
            members[name] = parse_number(given[name])
    return members
