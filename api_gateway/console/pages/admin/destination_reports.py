"""Reports of destinations: differences between here and there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from falcon.asgi import Request, Response

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, form_page
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import ConsoleParts, see_other, with_parameter
from api_gateway.resources.destinations.reports import JobResource, ReportResource

_DIFFERENCES = 100
_SEE = (("destination_report", "GET"),)


def report_pages(shared: ConsoleParts, resources: Mapping[str, object]) -> list[ConsolePage]:
    """Returns the routes; `resources` are those of the API by route name."""
    one = f"{CONSOLE_PATH}/destinations/{{destination}}"
    report = cast("ReportResource", resources["destination_report"])
    job = cast("JobResource", resources["destination_reconcile"])
    page = f"{one}/reports/{{report}}"
    return [
        form_page(f"{one}/reconcile", ReconcilePageResource(job), "destination_reconcile"),
        ConsolePage(page, ReportPageResource(shared, report), {"GET": _SEE}),
        ConsolePage(f"{page}/differences.csv", DifferencesFileResource(report), {"GET": _SEE}),
    ]


@dataclass(frozen=True, slots=True)
class ReconcilePageResource:
    """The beginning of a comparison."""

    job: JobResource

    async def on_post(self, req: Request, resp: Response, destination: str) -> None:
        """Begins it, with `apply` also the sending of what differs; shows its report."""
        fields = await read_form(req)
        report = await self.job.begin(destination, is_applied=bool(fields.get("apply")))
        see_other(resp, f"/destinations/{report.destination}/reports/{report.id}")


@dataclass(frozen=True, slots=True)
class ReportPageResource:
    """One report."""

    shared: ConsoleParts
    report: ReportResource

    async def on_get(self, req: Request, resp: Response, destination: str, report: str) -> None:
        """Shows the report with a page of the differences."""
        found = await self.report.find(destination, report)
        page, cursor = await self.report.read_page(req, found, limit=_DIFFERENCES)
        self.shared.renderer.write(
            req,
            resp,
            "admin/report.html",
            report=found,
            differences=page,
            next=with_parameter(req, "cursor", cursor),
        )

    on_head = on_get


@dataclass(frozen=True, slots=True)
class DifferencesFileResource:
    """The differences of a report as a file."""

    report: ReportResource

    async def on_get(self, req: Request, resp: Response, destination: str, report: str) -> None:
        """Responds with all differences."""
        del req
        self.report.write_csv(resp, await self.report.find(destination, report))

    on_head = on_get
