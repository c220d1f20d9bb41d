"""Health: the processes, the queue, its throughput, and the backlogs of other systems."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, cast

import structlog
from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, form_page, may_use
from api_gateway.console.plots import plot_bars
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import ConsoleParts, parse_number, read_count, see_other
from api_gateway.http.problems import bad_request
from api_gateway.resources.health import ReadyResource
from api_gateway.status.health.destination_backlog import ReportedBacklog, report_backlogs
from api_gateway.status.health.relay_lag import enabled_channels
from api_gateway.status.health.service_metrics import ServiceState, load_service_state
from enrollment.domain.webhooks.records import Webhook
from enrollment.storage.outbox.relay_positions import ChannelName
from enrollment.storage.queue import quarantine
from enrollment.storage.queue.quarantine import ParkedBatch
from enrollment.storage.queue.throughput import Throughput, load_throughput
from enrollment.storage.webhooks import endpoints
from schemas.findings import Rule, finding

log = structlog.get_logger()

_READ = (("metrics", "GET"),)
#: The plot has the last half hour, by minutes.
_SLICES, _SECONDS = 30, 60
_PARKED = 100
#: Ids of batches are below this.
_MAX_ID = 2**63


def health_pages(shared: ConsoleParts, resources: Mapping[str, object]) -> list[ConsolePage]:
    """Returns the routes; `resources` are those of the API by route name."""
    base = f"{CONSOLE_PATH}/health"
    ready = cast("ReadyResource", resources["readyz"])
    return [
        ConsolePage(base, HealthPageResource(shared, ready), {"GET": _READ}),
        form_page(f"{base}/retry", RetryBatchesResource(shared), "console_batches"),
    ]


class HealthFacts(NamedTuple):
    """The state of the service at one time, as far as a caller may see it."""

    state: ServiceState
    throughput: Throughput
    destinations: list[ReportedBacklog]
    #: None for callers who may not see them.
    webhooks: list[Webhook] | None
    parked: list[ParkedBatch] | None


@dataclass(frozen=True, slots=True)
class HealthPageResource:
    """The state of the service."""

    shared: ConsoleParts
    ready: ReadyResource

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the state; the page renews it."""
        parts, caller = self.shared.parts, req.context.caller
        report = await self.ready.report()
        facts = await parts.lists.read(
            _read_facts,
            enabled_channels(parts.settings),
            sees_webhooks=may_use(caller, ("webhooks", "GET")),
            sees_batches=may_use(caller, ("console_batches", "GET")),
        )
        now = facts.state.now
        self.shared.renderer.write(
            req,
            resp,
            "health.html",
            report=report,
            facts=facts,
            now=now,
            plot=plot_bars(facts.throughput.rates),
            times=[
                now - timedelta(seconds=_SECONDS * (_SLICES - number)) for number in range(_SLICES)
            ],
            freed=read_count(req, "freed"),
        )

    on_head = on_get


def _read_facts(
    session: Session,
    channels: tuple[ChannelName, ...],
    *,
    sees_webhooks: bool,
    sees_batches: bool,
) -> HealthFacts:
    return HealthFacts(
        load_service_state(channels, session),
        load_throughput(session, slices=_SLICES, seconds=_SECONDS),
        report_backlogs(session),
        endpoints.find_all(session) if sees_webhooks else None,
        quarantine.list_parked(session, limit=_PARKED) if sees_batches else None,
    )


@dataclass(frozen=True, slots=True)
class RetryBatchesResource:
    """Parked batches, once more."""

    shared: ConsoleParts

    async def on_post(self, req: Request, resp: Response) -> None:
        """Frees the batch of the form, or all without one; shows the state with their number."""
        fields = await read_form(req)
        text = fields.get("batch", "")
        number = parse_number(text)
        if text and not (isinstance(number, int) and 0 < number < _MAX_ID):
            found = finding("batch", text, Rule.RANGE)
            raise bad_request("invalid_body", "There is no such batch.", found)
        chosen = [number] if isinstance(number, int) else None
        freed = await self.shared.parts.database.write(quarantine.retry, chosen)
        log.info("batches.freed", batches=freed, caller=req.context.caller.name)
        see_other(resp, f"/health?freed={len(freed)}")
