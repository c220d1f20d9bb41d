"""Crosswalks: ids of other systems with the ids that they stand for, and those to be mapped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, may_use
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import (
    ConsoleParts,
    check_is_shown,
    read_count,
    see_other,
    with_parameter,
)
from api_gateway.http.pagination import encode_cursor
from api_gateway.http.problems import Problem
from api_gateway.resources.crosswalks import (
    CrosswalkResource,
    MissingIdsResource,
    check_source,
    read_crosswalk_cursor,
)
from api_gateway.resources.submissions import read_submission_page
from api_gateway.status.status_response import parse_submission_id
from enrollment.domain.codes import IdKind, Reason
from enrollment.domain.crosswalks import MAX_EXTERNAL_ID, ExternalId
from enrollment.domain.submissions import Submission
from enrollment.storage import crosswalks
from schemas.files.raw_rows import sources_of

_ENTRIES, _SOURCES, _SEARCHED = 50, 200, 100
#: Ids that one form maps: as many as a form has room for.
_MAPPED = 25
#: Begins the name of a field with an id of ours; kind and external id follow.
_MAP = "map "
_READ = (("crosswalk", "GET"),)
_TO_MAP = frozenset({Reason.INVALID_ROW, Reason.COURSE_NOT_FOUND, Reason.LEARNER_NOT_FOUND})


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosswalkOperations:
    """The resources of the API whose functions the pages call."""

    shared: ConsoleParts
    entries: CrosswalkResource
    missing: MissingIdsResource


def crosswalk_pages(shared: ConsoleParts, resources: Mapping[str, object]) -> list[ConsolePage]:
    """Returns the routes; `resources` are those of the API by route name."""
    operations = CrosswalkOperations(
        shared=shared,
        entries=cast("CrosswalkResource", resources["crosswalk"]),
        missing=cast("MissingIdsResource", resources["crosswalk_missing"]),
    )
    base = f"{CONSOLE_PATH}/crosswalks"
    one = f"{base}/{{source}}"
    needs = {"GET": _READ, "POST": (*_READ, ("crosswalk", "PATCH"))}
    missing = {"GET": (("crosswalk_missing", "GET"),)}
    return [
        ConsolePage(base, CrosswalksPageResource(shared), {"GET": _READ}),
        ConsolePage(one, CrosswalkPageResource(operations), needs),
        ConsolePage(f"{one}/missing.csv", MissingIdsFileResource(operations.missing), missing),
    ]


@dataclass(frozen=True, slots=True)
class CrosswalksPageResource:
    """All crosswalks, and the caller's submissions with ids that may be to be mapped."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the sources and the submissions."""
        caller: Caller = req.context.caller
        lists = self.shared.parts.lists
        found = await lists.read(
            read_submission_page, caller.name, states=frozenset(), after=None, limit=_SEARCHED
        )
        self.shared.renderer.write(
            req,
            resp,
            "crosswalks.html",
            sources=await lists.read(crosswalks.list_sources, limit=_SOURCES),
            to_map=[
                (submission, sorted(sources_of(submission)))
                for submission in found.submissions
                if _may_have_missing(submission)
            ],
            now=self.shared.parts.now(),
        )

    on_head = on_get


def _may_have_missing(submission: Submission) -> bool:
    """Whether rows failed as they do where an id is not mapped."""
    has_failed = any(submission.tally.reasons.get(reason) for reason in _TO_MAP)
    return has_failed and submission.finished_at is not None and bool(sources_of(submission))


@dataclass(frozen=True, slots=True)
class CrosswalkPageResource:
    """The crosswalk of one source, and the ids of a submission that it lacks."""

    operations: CrosswalkOperations

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """Shows a page of the entries; `submission` names the one whose ids are to be mapped."""
        check_source(source)
        await self._show(req, resp, source, {}, None)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response, source: str) -> None:
        """Stores the ids that the form maps, and shows those that are left; or why not."""
        check_source(source)
        fields = await read_form(req)
        entries = _entries_of(fields)
        try:
            saved = await self.operations.entries.add(source, json.dumps(entries).encode())
        except Problem as problem:
            check_is_shown(problem)
            await self._show(req, resp, source, fields, problem)
            return
        submission = fields.get("submission")
        of = f"&submission={parse_submission_id(submission)}" if submission else ""
        see_other(resp, f"/crosswalks/{source}?saved={saved}{of}")

    async def _show(
        self,
        req: Request,
        resp: Response,
        source: str,
        fields: Mapping[str, str],
        problem: Problem | None,
    ) -> None:
        shared, after = self.operations.shared, read_crosswalk_cursor(req)
        submission = req.get_param("submission") or fields.get("submission") or None
        entries = await shared.parts.lists.read(
            crosswalks.page, source, after=after, limit=_ENTRIES
        )
        last = entries[-1] if len(entries) == _ENTRIES else None
        cursor = last and encode_cursor(f"{last.kind.value} {last.external_id}")
        shared.renderer.write(
            req,
            resp,
            "crosswalk.html",
            status=HTTPStatus.OK if problem is None else problem.status,
            source=source,
            entries=entries,
            next=with_parameter(req, "cursor", cursor),
            submission=submission,
            missing=await self._missing(req, source, submission),
            kinds=list(IdKind),
            max_id=MAX_EXTERNAL_ID,
            saved=read_count(req, "saved"),
            fields=fields,
            problem=None if problem is None else problem.body(),
        )

    async def _missing(
        self, req: Request, source: str, submission: str | None
    ) -> list[ExternalId] | None:
        """Returns the ids that are to be mapped; None without a submission."""
        caller: Caller = req.context.caller
        if submission is None or not may_use(caller, ("crosswalk_missing", "GET")):
            return None
        return await self.operations.missing.read_missing(source, submission, caller, limit=_MAPPED)


def _entries_of(fields: Mapping[str, str]) -> list[dict[str, str]]:
    """Returns the entries of a form as the API reads them: those that were filled in."""
    entries = []
    for name, text in fields.items():
        if name.startswith(_MAP) and text.strip():
            kind, _, external_id = name.removeprefix(_MAP).partition(" ")
            entries.append({"kind": kind, "theirs": external_id, "ours": text.strip()})
    one = {name: fields.get(name, "").strip() for name in ("kind", "theirs", "ours")}
    if one["theirs"] or one["ours"]:
        entries.append(one)
    return entries


@dataclass(frozen=True, slots=True)
class MissingIdsFileResource:
    """The ids that are to be mapped, as a file."""

    missing: MissingIdsResource

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """Responds with the file of the API."""
        await self.missing.on_get(req, resp, source)

    on_head = on_get
