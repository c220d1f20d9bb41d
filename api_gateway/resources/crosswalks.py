"""``/crosswalks/{source}``: maps ids of another system to ours; lists ids that are not mapped."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.http.pagination import encode_cursor, invalid_cursor, page_size, read_cursor
from api_gateway.http.problems import bad_request, too_large, unsupported
from api_gateway.http.request_body import read_body
from api_gateway.http.responses import keep_private, write_json
from api_gateway.resources.common.bulk_body import MAX_BULK_BODY, write_saved_count
from api_gateway.resources.outcomes import check_finished
from api_gateway.status import queries
from api_gateway.status.queries import OutcomeFilter, OutcomeRow, OutcomesCursor
from api_gateway.status.status_response import parse_submission_id
from enrollment.domain.codes import Code, IdKind, Reason
from enrollment.domain.crosswalks import CrosswalkEntry, ExternalId
from enrollment.domain.submissions import Submission
from enrollment.storage import crosswalks
from schemas.crosswalks import (
    ENTRIES,
    MOST,
    CrosswalkJson,
    csv_head,
    csv_lines,
    dump_entry,
    read_csv,
)
from schemas.fields import is_source
from schemas.files.id_mapping import NOT_IN_CROSSWALK, ids_in
from schemas.files.raw_rows import source_at, sources_of
from schemas.requests.bulk_objects import JSON, NDJSON, InvalidObjects, TooManyObjects

_CSV = "text/csv"
#: Entries, or outcomes, that one query reads.
_ENTRIES_PER_READ = 2_000
_UNMAPPED = OutcomeFilter(
    frozenset({Code.REFUSED, Code.INVALID}),
    frozenset({Reason.INVALID_ROW, Reason.COURSE_NOT_FOUND, Reason.LEARNER_NOT_FOUND}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosswalkResource:
    """All entries of one source."""

    database: Database

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """A page in JSON, all entries in CSV."""
        check_source(source)
        keep_private(resp)
        resp.set_header("Vary", "Accept")
        if req.client_prefers([JSON, _CSV]) == _CSV:
            _set_file_headers(resp, f"crosswalk-{source}.csv")
            resp.stream = self._file(source)
            return
        limit, after = page_size(req), read_position(req)
        entries = await self.database.read(crosswalks.page, source, after=after, limit=limit)
        last = entries[-1] if len(entries) == limit else None
        shown: CrosswalkJson = {
            "source": source,
            "entries": list(map(dump_entry, entries)),
            "next": last and encode_cursor(f"{last.kind.value} {last.external_id}"),
        }
        write_json(resp, shown)

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, source: str) -> None:
        """Replace all entries."""
        await self._save(req, resp, source, crosswalks.replace_all)

    async def on_patch(self, req: Request, resp: Response, source: str) -> None:
        """Add entries; those with the same ids are replaced."""
        await self._save(req, resp, source, crosswalks.merge)

    async def _save(
        self,
        req: Request,
        resp: Response,
        source: str,
        save: Callable[[Session, str, list[CrosswalkEntry]], None],
    ) -> None:
        check_source(source)
        entries = await self._entries(req, whole=save is crosswalks.replace_all)
        await self.database.write(save, source, entries)
        write_saved_count(resp, len(entries), is_replay=False)

    async def _entries(self, req: Request, *, whole: bool) -> list[CrosswalkEntry]:
        media_type = (req.content_type or "").partition(";")[0].strip().lower()
        if media_type not in {JSON, NDJSON, _CSV}:
            raise unsupported(f"Send {JSON}, {NDJSON} or {_CSV}.")
        body = await read_body(req, MAX_BULK_BODY)
        try:
            if media_type == _CSV:
                return await self.database.run(lambda: read_csv(body, whole=whole))
            return await self.database.run(lambda: ENTRIES.read(body, media_type))
        except TooManyObjects as error:
            message = f"At most {MOST} entries are accepted at once: send the rest with PATCH."
            raise too_large(message) from error
        except InvalidObjects as error:
            raise bad_request("invalid_body", str(error), *error.found) from error

    async def _file(self, source: str) -> AsyncIterator[bytes]:
        """Read page by page."""
        yield csv_head().encode()
        after: tuple[str, str] | None = None
        while True:
            entries = await self.database.read(
                crosswalks.page, source, after=after, limit=_ENTRIES_PER_READ
            )
            yield csv_lines(entries).encode()
            if len(entries) < _ENTRIES_PER_READ:
                return
            after = entries[-1].kind.value, entries[-1].external_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingIdsResource:
    """Ids in the rows of a submission that could not be mapped."""

    database: Database
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """A CSV file to be completed and sent back with PATCH."""
        check_source(source)
        keep_private(resp)
        named = req.get_param("submission")
        if not named:
            message = "The parameter submission is missing: ?submission=ID"
            raise bad_request(
                "invalid_parameter", message, {"field": "submission", "rule": "required"}
            )
        caller: Caller = req.context.caller
        wanted = parse_submission_id(named)
        status = await self.database.read(queries.get_status, wanted, caller)
        if status.submission.finished_at is None:
            raise check_finished(status.submission, self.now())
        if source not in sources_of(status.submission):
            message = f"The ids of that submission are not those of {source}."
            raise bad_request(
                "invalid_parameter", message, {"field": "submission", "rule": "mismatch"}
            )
        missing = await self._missing(source, status.submission)
        _set_file_headers(resp, f"to-map-{source}.csv")
        rows = [(theirs.kind.value, theirs.id, "") for theirs in missing]
        resp.text = csv_head() + csv_lines(rows)

    on_head = on_get

    async def _missing(self, source: str, submission: Submission) -> list[ExternalId]:
        """Return the ids in input order, each once, at most as many as one PATCH accepts."""
        missing: dict[ExternalId, None] = {}
        cursor: OutcomesCursor | None = OutcomesCursor()
        while cursor is not None and len(missing) < MOST:
            page = await self.database.read(
                queries.read_outcomes_page, submission, cursor, _UNMAPPED, limit=_ENTRIES_PER_READ
            )
            named = dict.fromkeys(_unmapped(page.rows, submission, source))
            known = await self.database.read(crosswalks.find_many, named.keys())
            missing |= {theirs: None for theirs in named if theirs not in known}
            cursor = page.next if page.next != cursor else None
        return list(missing)[:MOST]


def _unmapped(
    answered: Iterable[OutcomeRow], submission: Submission, source: str
) -> Iterator[ExternalId]:
    """Yield the ids of a source for which rows were refused."""
    for outcome, row in answered:
        if row is None or source_at(submission, outcome.line) != source:
            continue
        blamed = _id_kind_of(outcome.reason, outcome.details or {})
        for theirs in ids_in(row.members, source):
            if theirs.kind in blamed:
                yield theirs


def _id_kind_of(reason: Reason | None, details: Mapping[str, object]) -> set[IdKind]:
    """The kinds of ids that an outcome is about."""
    if reason is Reason.COURSE_NOT_FOUND:
        return {IdKind.COURSE}
    if reason is Reason.LEARNER_NOT_FOUND:
        return {IdKind.LEARNER}
    errors = details.get("errors")
    found = errors if isinstance(errors, list) else []
    return {IdKind(one["kind"]) for one in found if one.get("rule") == NOT_IN_CROSSWALK}


def _set_file_headers(resp: Response, name: str) -> None:
    resp.content_type = f"{_CSV}; charset=utf-8"
    resp.set_header("Content-Disposition", f'attachment; filename="{name}"')


def check_source(source: str) -> None:
    """Raise Problem 400 for an invalid source name."""
    if not is_source(source):
        found = {"field": "source", "value": source[:100], "rule": "source"}
        raise bad_request("invalid_source", "The URL contains no valid source.", found)


def read_position(req: Request) -> tuple[str, str] | None:
    """Read the position at which the page begins. Raises Problem 400 for an invalid cursor."""
    text = read_cursor(req)
    if text is None:
        return None
    kind, _, theirs = text.partition(" ")
    if kind not in set(IdKind):
        raise invalid_cursor()
    return kind, theirs
