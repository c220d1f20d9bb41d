"""Webhooks: endpoints of other systems, their secrets, and the log of deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from falcon.asgi import Request, Response

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, form_page
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
from api_gateway.resources.common.bulk_body import load_checked
from api_gateway.resources.webhooks.deliveries import (
    DeliveriesResource,
    RedeliverRangeResource,
    RedeliverResource,
)
from api_gateway.resources.webhooks.endpoints import (
    DisableResource,
    EnableResource,
    RotateResource,
    WebhookResource,
    WebhooksResource,
)
from enrollment.domain.codes import DeliveryState
from enrollment.domain.webhooks.messages import MESSAGE_TYPES
from enrollment.domain.webhooks.records import Webhook
from enrollment.storage.webhooks import endpoints
from schemas.webhooks.endpoints import load_range

_DELIVERIES = 50
_LIST, _ADD = (("webhooks", "GET"),), (("webhooks", "POST"),)
_SEE = (("webhook", "GET"), ("webhook_deliveries", "GET"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOperations:
    """The resources of the API whose functions the pages call."""

    shared: ConsoleParts
    all: WebhooksResource
    one: WebhookResource
    rotation: RotateResource
    enabling: EnableResource
    disabling: DisableResource
    log: DeliveriesResource
    again: RedeliverResource
    range: RedeliverRangeResource


def webhook_pages(shared: ConsoleParts, resources: Mapping[str, object]) -> list[ConsolePage]:
    """Returns the routes; `resources` are those of the API by route name."""
    operations = WebhookOperations(
        shared=shared,
        all=cast("WebhooksResource", resources["webhooks"]),
        one=cast("WebhookResource", resources["webhook"]),
        rotation=cast("RotateResource", resources["webhook_rotate"]),
        enabling=cast("EnableResource", resources["webhook_enable"]),
        disabling=cast("DisableResource", resources["webhook_disable"]),
        log=cast("DeliveriesResource", resources["webhook_deliveries"]),
        again=cast("RedeliverResource", resources["webhook_delivery_redeliver"]),
        range=cast("RedeliverRangeResource", resources["webhook_redeliver"]),
    )
    base = f"{CONSOLE_PATH}/webhooks"
    one = f"{base}/{{webhook}}"
    forms = {
        "rotate": RotatePageResource(operations),
        "enable": EnablePageResource(operations),
        "disable": DisablePageResource(operations),
        "redeliver": RangePageResource(operations),
    }
    again = f"{one}/deliveries/{{delivery}}/redeliver"
    return [
        ConsolePage(base, WebhooksPageResource(operations), {"GET": _LIST, "POST": _ADD}),
        ConsolePage(one, WebhookPageResource(operations), {"GET": _SEE}),
        *(form_page(f"{one}/{name}", form, f"webhook_{name}") for name, form in forms.items()),
        form_page(again, RedeliverPageResource(operations), "webhook_delivery_redeliver"),
    ]


@dataclass(frozen=True, slots=True)
class WebhooksPageResource:
    """All endpoints, and the form of a new one."""

    operations: WebhookOperations

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the endpoints."""
        await self._show(req, resp, {}, None)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Adds an endpoint, and shows its secret this once; or shows why it was refused."""
        fields = await read_form(req)
        endpoints_resource = self.operations.all
        try:
            members = endpoints_resource.parts.load_members(_members_of(fields))
            caller = req.context.caller.name
            added, secret = await endpoints_resource.add(members, caller=caller)
        except Problem as problem:
            check_is_shown(problem)
            await self._show(req, resp, fields, problem)
            return
        _show_secret(self.operations.shared, req, resp, added, secret, status=HTTPStatus.CREATED)

    async def _show(
        self, req: Request, resp: Response, fields: dict[str, str], problem: Problem | None
    ) -> None:
        shared = self.operations.shared
        shared.renderer.write(
            req,
            resp,
            "admin/webhooks.html",
            status=HTTPStatus.OK if problem is None else problem.status,
            webhooks=await shared.parts.lists.read(endpoints.find_all),
            types=MESSAGE_TYPES,
            fields=fields,
            problem=None if problem is None else problem.body(),
        )


@dataclass(frozen=True, slots=True)
class WebhookPageResource:
    """One endpoint, with its deliveries."""

    operations: WebhookOperations

    async def on_get(self, req: Request, resp: Response, webhook: str) -> None:
        """Shows the endpoint and a page of its deliveries."""
        drop_empty_parameters(req)
        found = await self.operations.one.find(webhook)
        page, cursor = await self.operations.log.read_page(req, webhook, limit=_DELIVERIES)
        shared = self.operations.shared
        shared.renderer.write(
            req,
            resp,
            "admin/webhook.html",
            webhook=found,
            deliveries=page,
            next=with_parameter(req, "cursor", cursor),
            states=list(DeliveryState),
            selected=req.get_param("state"),
            queued=read_count(req, "queued"),
            now=shared.parts.now(),
        )

    on_head = on_get


@dataclass(frozen=True, slots=True)
class RotatePageResource:
    """The secret of an endpoint."""

    operations: WebhookOperations

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Replaces the secret, and shows the new one this once.

        The field `until` is the end of the secret before, as the page showed it: a form that is
        sent twice would else end the secret that the receiver has.
        """
        fields = await read_form(req)

        def check(found: Webhook) -> None:
            if rotation_mark(found) != fields.get("until", ""):
                message = "The secret was replaced meanwhile: open the page of the webhook again."
                raise Problem(HTTPStatus.CONFLICT, "already_exists", message)

        rotated, secret = await self.operations.rotation.rotate(webhook, check=check)
        _show_secret(self.operations.shared, req, resp, rotated, secret, status=HTTPStatus.OK)


@dataclass(frozen=True, slots=True)
class EnablePageResource:
    """The enabling of an endpoint."""

    operations: WebhookOperations

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Enables the endpoint, or sends it a challenge; shows it."""
        await read_form(req)
        found = await self.operations.enabling.enable(webhook)
        see_other(resp, f"/webhooks/{found.id}")


@dataclass(frozen=True, slots=True)
class DisablePageResource:
    """The disabling of an endpoint."""

    operations: WebhookOperations

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Disables the endpoint, and shows it."""
        await read_form(req)
        found = await self.operations.disabling.disable(webhook)
        see_other(resp, f"/webhooks/{found.id}")


@dataclass(frozen=True, slots=True)
class RangePageResource:
    """Messages about a range of the change feed, once more."""

    operations: WebhookOperations

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Queues the messages, and shows the endpoint with their number."""
        fields = await read_form(req)
        positions = {name: parse_number(fields.get(name, "").strip()) for name in ("first", "last")}
        first, last = load_checked(load_range, positions)
        queued = await self.operations.range.queue(webhook, first, last)
        see_other(resp, f"/webhooks/{webhook}?queued={queued}")


@dataclass(frozen=True, slots=True)
class RedeliverPageResource:
    """One message, once more."""

    operations: WebhookOperations

    async def on_post(self, req: Request, resp: Response, webhook: str, delivery: str) -> None:
        """Queues the message, and shows the endpoint."""
        await read_form(req)
        await self.operations.again.send_again(webhook, delivery)
        see_other(resp, f"/webhooks/{webhook}?queued=1")


def rotation_mark(webhook: Webhook) -> str:
    """Returns a text that another one replaces with each rotation."""
    return "" if webhook.previous_until is None else webhook.previous_until.isoformat()


def _members_of(fields: Mapping[str, str]) -> dict[str, object]:
    """Returns the endpoint of a form as the API reads it."""
    return {
        "url": fields.get("url", "").strip(),
        "description": fields.get("description", "").strip() or None,
        "types": [name for name in MESSAGE_TYPES if fields.get(f"type_{name}")],
        "courses": split_list(fields.get("courses", "")),
        "callers": split_list(fields.get("callers", "")),
    }


def _show_secret(
    shared: ConsoleParts,
    req: Request,
    resp: Response,
    webhook: Webhook,
    secret: str,
    *,
    status: HTTPStatus,
) -> None:
    shared.renderer.write(
        req, resp, "admin/webhook_secret.html", status=status, webhook=webhook, secret=secret
    )
