"""`/crosswalks/{source}`: maps the ids of another system to ours, and lists unmapped ids."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import Database, ListReader
from api_gateway.http.headers import preferred_type
from api_gateway.http.pagination import encode_cursor, invalid_cursor, read_cursor, read_page_size
from api_gateway.http.problems import bad_request, too_large, unsupported
from api_gateway.http.request_body import read_body
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import MAX_BULK_BODY, write_saved_count
from api_gateway.resources.outcomes import not_finished_problem
from api_gateway.status import queries
from api_gateway.status.queries import OutcomeFilter, OutcomeRow, OutcomesCursor
from api_gateway.status.status_response import parse_submission_id
from enrollment.domain.codes import Code, IdKind, Reason
from enrollment.domain.crosswalks import CrosswalkEntry, ExternalId
from enrollment.domain.submissions import Submission
from enrollment.storage import crosswalks
from schemas.crosswalks import (
    ENTRIES_READER,
    MAX_CROSSWALK_ENTRIES,
    CrosswalkJson,
    csv_header,
    csv_lines,
    dump_entry,
    parse_csv_entries,
)
from schemas.fields import is_source
from schemas.files.id_mapping import ids_in
from schemas.files.raw_rows import source_at, sources_of
from schemas.findings import Rule, finding
from schemas.requests.bulk_objects import (
    JSON_MEDIA_TYPE,
    NDJSON_MEDIA_TYPE,
    InvalidObjects,
    TooManyObjects,
)

_CSV = "text/csv"
#: Maximum number of entries, or of outcomes, read by one query.
_ENTRIES_PER_READ = 2_000
#: Outcomes that a missing crosswalk entry can cause.
_UNMAPPED = OutcomeFilter(
    frozenset({Code.REFUSED, Code.INVALID}),
    frozenset({Reason.INVALID_ROW, Reason.COURSE_NOT_FOUND, Reason.LEARNER_NOT_FOUND}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosswalkResource:
    """The crosswalk of one source."""

    database: Database
    lists: ListReader

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """Responds with a page in JSON, or all entries in CSV."""
        check_source(source)
        resp.set_header("Vary", "Accept")
        if preferred_type(req, [JSON_MEDIA_TYPE, _CSV]) == _CSV:
            _set_file_headers(resp, f"crosswalk-{source}.csv")
            resp.stream = self._stream_csv(source)
            return
        limit, after = read_page_size(req), read_crosswalk_cursor(req)
        entries = await self.lists.read(crosswalks.page, source, after=after, limit=limit)
        last = entries[-1] if len(entries) == limit else None
        body: CrosswalkJson = {
            "source": source,
            "entries": list(map(dump_entry, entries)),
            "next": last and encode_cursor(f"{last.kind.value} {last.external_id}"),
        }
        write_json(resp, body)

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, source: str) -> None:
        """Replaces all entries of the source."""
        await self._save(req, resp, source, crosswalks.replace_all)

    async def on_patch(self, req: Request, resp: Response, source: str) -> None:
        """Adds entries; those with the same ids are replaced."""
        await self._save(req, resp, source, crosswalks.merge)

    async def _save(
        self,
        req: Request,
        resp: Response,
        source: str,
        save: Callable[[Session, str, list[CrosswalkEntry]], None],
    ) -> None:
        check_source(source)
        entries = await self._read_entries(req, require_local_ids=save is crosswalks.replace_all)
        await self.database.write(save, source, entries)
        write_saved_count(resp, len(entries), is_replay=False)

    async def _read_entries(self, req: Request, *, require_local_ids: bool) -> list[CrosswalkEntry]:
        media_type = (req.content_type or "").partition(";")[0].strip().lower()
        if media_type not in {JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE, _CSV}:
            raise unsupported(f"Send {JSON_MEDIA_TYPE}, {NDJSON_MEDIA_TYPE} or {_CSV}.")
        body = await read_body(req, MAX_BULK_BODY)
        return await self._parse(body, media_type, require_local_ids=require_local_ids)

    async def add(self, source: str, entries: bytes) -> int:
        """Adds entries, given as JSON; returns how many. Raises Problem 400, 413."""
        check_source(source)
        parsed = await self._parse(entries, JSON_MEDIA_TYPE, require_local_ids=False)
        await self.database.write(crosswalks.merge, source, parsed)
        return len(parsed)

    async def _parse(
        self, body: bytes, media_type: str, *, require_local_ids: bool
    ) -> list[CrosswalkEntry]:
        try:
            if media_type == _CSV:
                return await self.database.run(
                    lambda: parse_csv_entries(body, require_local_ids=require_local_ids)
                )
            return await self.database.run(lambda: ENTRIES_READER.read(body, media_type))
        except TooManyObjects as error:
            limit = MAX_CROSSWALK_ENTRIES
            message = f"At most {limit} entries are accepted at once: send the rest with PATCH."
            raise too_large(message) from error
        except InvalidObjects as error:
            raise bad_request("invalid_body", str(error), *error.findings) from error

    async def _stream_csv(self, source: str) -> AsyncIterator[bytes]:
        """Yields the CSV file, which is read page by page."""
        yield csv_header().encode()
        after: tuple[str, str] | None = None
        while True:
            entries = await self.lists.read(
                crosswalks.page, source, after=after, limit=_ENTRIES_PER_READ
            )
            yield csv_lines(entries).encode()
            if len(entries) < _ENTRIES_PER_READ:
                return
            after = entries[-1].kind.value, entries[-1].external_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingIdsResource:
    """The ids in the rows of a submission that have no crosswalk entry."""

    database: Database
    lists: ListReader
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """Responds with a CSV file, to be completed and sent back with PATCH."""
        check_source(source)
        id_text = req.get_param("submission")
        if not id_text:
            message = "The parameter submission is missing: ?submission=ID"
            raise bad_request("invalid_parameter", message, finding("submission", None, "required"))
        missing = await self.read_missing(source, id_text, req.context.caller)
        _set_file_headers(resp, f"to-map-{source}.csv")
        rows = [(external.kind.value, external.id, "") for external in missing]
        resp.text = csv_header() + csv_lines(rows)

    on_head = on_get

    async def read_missing(
        self, source: str, id_text: str, caller: Caller, *, limit: int = MAX_CROSSWALK_ENTRIES
    ) -> list[ExternalId]:
        """Returns the first ids in the rows of a submission that are not mapped, each once.

        By default at most as many as one PATCH accepts. Raises Problem 400, 404, 409.
        """
        submission_id = parse_submission_id(id_text)
        status = await self.database.read(queries.get_status, submission_id, caller)
        if status.submission.finished_at is None:
            raise not_finished_problem(status.submission, self.now())
        if source not in sources_of(status.submission):
            message = f"The submission has no ids of the source {source}."
            found = finding("submission", id_text, "mismatch")
            raise bad_request("invalid_parameter", message, found)
        return await self._search(source, status.submission, limit=limit)

    async def _search(self, source: str, submission: Submission, *, limit: int) -> list[ExternalId]:
        missing: dict[ExternalId, None] = {}
        cursor: OutcomesCursor | None = OutcomesCursor()
        while cursor is not None and len(missing) < limit:
            page = await self.lists.read(
                queries.read_outcomes_page, submission, cursor, _UNMAPPED, limit=_ENTRIES_PER_READ
            )
            found = dict.fromkeys(_unmapped_ids(page.rows, submission, source))
            known = await self.database.read(crosswalks.find_many, found.keys())
            missing |= {external: None for external in found if external not in known}
            cursor = page.next if page.next != cursor else None
        return list(missing)[:limit]


def _unmapped_ids(
    rows: Iterable[OutcomeRow], submission: Submission, source: str
) -> Iterator[ExternalId]:
    """Yields the ids of a source for which a row was refused or invalid."""
    for outcome, row in rows:
        if row is None or source_at(submission, outcome.line) != source:
            continue
        kinds = _unmapped_kinds(outcome.reason, outcome.details or {})
        for external in ids_in(row.members, source):
            if external.kind in kinds:
                yield external


def _unmapped_kinds(reason: Reason | None, details: Mapping[str, object]) -> set[IdKind]:
    """Returns the kinds of ids that an outcome reports as unknown."""
    errors = details.get("errors")
    if isinstance(errors, list):
        return {IdKind(one["kind"]) for one in errors if one.get("rule") == Rule.NOT_IN_CROSSWALK}
    if reason is Reason.COURSE_NOT_FOUND:
        return {IdKind.COURSE}
    return {IdKind.LEARNER} if reason is Reason.LEARNER_NOT_FOUND else set()


def _set_file_headers(resp: Response, name: str) -> None:
    resp.content_type = f"{_CSV}; charset=utf-8"
    resp.set_header("Content-Disposition", f'attachment; filename="{name}"')


def check_source(source: str) -> None:
    """Raises Problem 400 if the name of the source is invalid."""
    if not is_source(source):
        found = finding("source", source, "source")
        raise bad_request("invalid_source", "The URL contains no valid source.", found)


def read_crosswalk_cursor(req: Request) -> tuple[str, str] | None:
    """Reads the start of the page, None for the first. Raises Problem 400 for an invalid cursor."""
    text = read_cursor(req)
    if text is None:
        return None
    kind, _, external_id = text.partition(" ")
    if kind not in set(IdKind):
        raise invalid_cursor(text)
    return kind, external_id
