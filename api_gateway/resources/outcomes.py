"""``/submissions/{id}/outcomes``: what became of every request, in the order of the input."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from falcon.asgi import Request, Response

from api_gateway import answers
from api_gateway.answers import Answer, Cursor, Filter, Page
from api_gateway.callers import Caller
from api_gateway.media import write_json
from api_gateway.problems import Problem, bad_request
from api_gateway.records import Records
from api_gateway.resources.bodies import cursor_at, page_size, place_of
from api_gateway.resources.statuses import submission_id
from enrollment.domain.codes import Code, Reason
from enrollment.domain.submissions import Member, Submission
from schemas.foreign.detect import NATIVE
from schemas.outcomes import ArchiveLineJson, OutcomeJson, OutcomePageJson, dump_outcome
from schemas.raw_rows import member_at
from schemas.results import Layout, cells_from_request, layout_of, ndjson_line
from schemas.submissions import retry_after

#: Outcomes that one look at the records reads for a stream.
_AT_ONCE = 2_000

_JSON, _NDJSON, _CSV = "application/json", "application/x-ndjson", "text/csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomesResource:
    """The outcomes of one submission."""

    records: Records
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """A page in JSON; everything in CSV or NDJSON, once there is everything."""
        caller: Caller = req.context.caller
        wanted = submission_id(id)
        status = await self.records.read(answers.status, wanted, caller)
        submission = status.submission
        chosen = read_filter(req)._replace(file=read_file(req, submission))
        form = req.client_prefers([_JSON, _NDJSON, _CSV]) or _JSON
        resp.set_header("Vary", "Accept")
        if form == _JSON:
            await self._page(req, resp, submission, chosen)
            return
        if submission.finished_at is None:
            raise not_finished(submission, self.now())
        resp.content_type = f"{form}; charset=utf-8" if form == _CSV else form
        layout = layout_in(submission, chosen.file) if form == _CSV else None
        if form == _CSV:
            name = f"outcomes-{submission.id}.csv"
            resp.set_header("Content-Disposition", f'attachment; filename="{name}"')
        resp.stream = self._stream(submission, chosen, layout)

    on_head = on_get

    async def _page(
        self, req: Request, resp: Response, submission: Submission, chosen: Filter
    ) -> None:
        page = await self._read(submission, read_cursor(req), chosen, page_size(req))
        shown: list[OutcomeJson] = [
            {**dump_outcome(answer.outcome), **file_of(submission, answer.outcome.line)}
            for answer in page.answers
        ]
        after = None if page.next is None else cursor_at(f"{page.next[0]}.{page.next[1]}")
        body: OutcomePageJson = {"outcomes": shown, "next": after}
        write_json(resp, body)

    async def _stream(
        self, submission: Submission, chosen: Filter, layout: Layout | None
    ) -> AsyncIterator[bytes]:
        """Short reads, one after the other: an open cursor would block commits on SQLite."""
        if layout is not None:
            yield layout.head().encode()
        cursor: Cursor | None = Cursor()
        while cursor is not None:
            page = await self._read(submission, cursor, chosen, _AT_ONCE)
            if layout is not None:
                lines = [layout.line(answer.outcome, _cells(answer)) for answer in page.answers]
            else:
                lines = [
                    ndjson_line(answer.outcome, file_of(submission, answer.outcome.line))
                    for answer in page.answers
                ]
            yield "".join(lines).encode()
            cursor = page.next if page.next != cursor else None

    async def _read(
        self, submission: Submission, cursor: Cursor, chosen: Filter, limit: int
    ) -> Page:
        return await self.records.read(
            answers.outcomes_page, submission, cursor, chosen, limit=limit
        )


def not_finished(submission: Submission, now: datetime) -> Problem:
    """A file has no place to say that rows are missing, so there is none before the end."""
    return Problem(
        HTTPStatus.CONFLICT,
        "submission_not_finished",
        f"{submission.pending} of {submission.total} requests have no outcome yet: ask again when "
        f"the submission is finished, or read the pages in {_JSON}.",
        headers={"Retry-After": str(retry_after(submission, now) or 1)},
    )


def _cells(answer: Answer) -> list[str]:
    row = answer.row
    if row is not None and row.cells is not None:
        return row.cells
    if row is None:
        return cells_from_request(answer.outcome, None)
    return cells_from_request(answer.outcome, row.request, row.unvalidated)


def layout_in(submission: Submission, file: Member | None) -> Layout:
    """How the result file is written. Raises Problem 400 where its rows have several forms."""
    if not submission.files:
        return layout_of(submission.header, submission.format or NATIVE)
    members = submission.files if file is None else (file,)
    layouts = {layout_of(member.header, member.format) for member in members}
    if len(layouts) > 1:
        names = [member.name for member in members]
        found = {"field": "file", "value": None, "rule": "required", "expected": ", ".join(names)}
        message = "The files of the archive have different columns: say which with file=."
        raise bad_request("option_invalid", message, found)
    return layouts.pop()


def file_of(submission: Submission, line: int) -> ArchiveLineJson:
    """Where in an archive a line stands; nothing for every other submission."""
    if not submission.files:
        return {}
    member = member_at(submission.files, line)
    return {"file": member.name, "file_line": line - member.lines_before}


def read_file(req: Request, submission: Submission) -> Member | None:
    """The file of an archive that is asked for. Raises Problem 400 for one that is not in it."""
    name = req.get_param("file")
    if name is None:
        return None
    for member in submission.files:
        if member.name == name:
            return member
    found = {"field": "file", "value": name[:100], "rule": "one_of"}
    raise bad_request("option_invalid", "The submission has no file of that name.", found)


def read_filter(req: Request) -> Filter:
    """The outcomes and reasons asked for. Raises Problem 400 for words that are none."""
    codes = _words(req, "outcome", set(Code))
    reasons = _words(req, "reason", set(Reason))
    return Filter(frozenset(map(Code, codes)), frozenset(reasons))


def _words(req: Request, name: str, known: set[Any]) -> list[str]:
    given = req.get_param_as_list(name) or []
    words = [word for text in given for word in text.split(",") if word]
    for word in words:
        if word not in known:
            found = {"field": name, "value": word[:100], "rule": ", ".join(sorted(known))}
            raise bad_request("option_invalid", f"There is no {name} {word[:100]!r}.", found)
    return words


def read_cursor(req: Request) -> Cursor:
    """Where the page begins. Raises Problem 400 for a cursor that is none of ours."""
    text = place_of(req)
    if text is None:
        return Cursor()
    ordinal, _, skip = text.partition(".")
    if not (ordinal.isdecimal() and skip.isdecimal()):
        raise bad_request("option_invalid", "The cursor is none that an answer gave.")
    return Cursor(int(ordinal[:9]), int(skip[:9]))
