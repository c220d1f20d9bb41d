"""Upload of a file: its plan is made by a dry run, and carried out once it is confirmed."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.plans import PLAN_PROBLEMS, PlanState, plan_key, plan_state
from api_gateway.console.sessions.forms import TOKEN_FIELD, check_origin, check_token, read_form
from api_gateway.console.shared import ConsoleParts, see_other
from api_gateway.http.problems import Problem
from api_gateway.resources.common.submission_params import SubmissionParams, parse_params
from api_gateway.status import queries
from api_gateway.status.status_response import parse_submission_id
from enrollment.domain.submissions import Submission
from intake_store.upload import Upload
from schemas.files.formats.detect import AUTO, FORMAT_NAMES

_UPLOAD = (("submissions", "POST"),)
#: The parameter with the submission before the file.
_FOLLOWS = "follows"


def upload_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    upload = UploadResource(shared)
    apply = ApplyResource(shared)
    template = f"{CONSOLE_PATH}/submissions/{{id}}/apply"
    return [
        ConsolePage(f"{CONSOLE_PATH}/upload", upload, {"GET": _UPLOAD, "POST": _UPLOAD}),
        ConsolePage(template, apply, {"POST": (*_UPLOAD, ("submission", "GET"))}),
    ]


@dataclass(frozen=True, slots=True)
class UploadResource:
    """The form of a file, and its dry run."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows the form; `follows` names the submission of which the file mends rows."""
        self._show(req, resp, follows=await self._find_followed(req))

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Receives a file, starts its dry run, and leads to it; or shows why it was refused."""
        check_origin(req)
        follows = await self._find_followed(req)
        try:
            stored = await self.shared.submissions.receive(req, partial(_parse_fields, req), None)
        except Problem as problem:
            if problem.status in {HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE}:
                raise
            resp.set_headers(problem.headers)
            self._show(req, resp, problem=problem, follows=follows)
            return
        see_other(resp, f"/submissions/{stored.submission_id}")

    async def _find_followed(self, req: Request) -> str:
        """Returns the id of the submission that the file follows; empty without one.

        It is in the address of the form, so that it is known however the upload fails. Raises
        SubmissionNotFound, also for another caller's.
        """
        text = req.get_param(_FOLLOWS)
        if not text:
            return ""
        id_, caller = parse_submission_id(text), req.context.caller
        followed = await self.shared.parts.database.read(
            queries.get_visible_submission, id_, caller
        )
        return str(followed.id)

    def _show(
        self, req: Request, resp: Response, *, follows: str, problem: Problem | None = None
    ) -> None:
        formats = sorted(set(FORMAT_NAMES) - {AUTO})
        self.shared.renderer.write(
            req,
            resp,
            "upload.html",
            status=HTTPStatus.OK if problem is None else problem.status,
            problem=None if problem is None else problem.body(),
            formats=formats,
            follows=follows,
            max_bytes=self.shared.parts.settings.max_upload_bytes,
        )


def _parse_fields(req: Request, fields: Mapping[str, Any]) -> SubmissionParams:
    """Parses the fields of the form: options of a dry run. Raises Problem 400, 403."""
    check_token(req, fields)
    given = {name: text for name, text in fields.items() if name not in {TOKEN_FIELD, _FOLLOWS}}
    params = parse_params({**given, "dry_run": "true"})
    follows = fields.get(_FOLLOWS)
    if follows:
        options = replace(params.options, follows=str(parse_submission_id(follows)))
        params = params._replace(options=options)
    return params


@dataclass(frozen=True, slots=True)
class ApplyResource:
    """Carries out the plan that a dry run made."""

    shared: ConsoleParts

    async def on_post(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Submits the rows of the dry run, once; leads to their submission."""
        await read_form(req)
        caller: Caller = req.context.caller
        parts = self.shared.parts
        found = await parts.database.read(queries.get_status, parse_submission_id(id), caller)
        plan = found.submission
        if (state := plan_state(plan, caller, parts.now())) is not PlanState.READY:
            raise Problem(HTTPStatus.CONFLICT, "submission_not_finished", PLAN_PROBLEMS[state])
        await self.shared.submissions.pending_rows.check(caller)
        upload = _upload_of(req, plan)
        with parts.upload_store.lock_key(caller, upload.key):
            stored = await parts.upload_store.store_upload(upload)
        see_other(resp, f"/submissions/{stored.submission_id}")


def _upload_of(req: Request, plan: Submission) -> Upload:
    """Returns the rows of a plan as an upload; its key lets it be stored once."""
    return Upload(
        file=io.BytesIO(),
        media_type="text/csv",
        gzip=False,
        caller=req.context.caller,
        options=replace(plan.options, dry_run=False, follows=plan.options.follows or str(plan.id)),
        lane=None,
        first_byte=req.context.first_byte,
        request_id=req.context.request_id,
        key=plan_key(plan.id),
        digest=hashlib.sha256(f"plan {plan.id}".encode()),
        is_file_in_digest=False,
        copied=plan,
    )
