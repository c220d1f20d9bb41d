"""``/crosswalks/{source}``: what ids of another system are here, and which are still to be told."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway import answers
from api_gateway.answers import Answer, Cursor, Filter
from api_gateway.callers import Caller
from api_gateway.media import keep_private, read_body, write_json
from api_gateway.problems import bad_request, too_large, unsupported
from api_gateway.records import Records
from api_gateway.resources.bodies import (
    MAX_MANY,
    cursor_at,
    page_size,
    place_of,
    write_saved,
)
from api_gateway.resources.outcomes import not_finished
from api_gateway.resources.statuses import submission_id
from enrollment.domain.codes import Code, IdKind, Reason
from enrollment.domain.crosswalks import Entry, Theirs
from enrollment.domain.submissions import Submission
from enrollment.storage import crosswalks
from schemas.bulk_objects import JSON, NDJSON, BadObjects, TooManyObjects
from schemas.crosswalks import (
    MANY,
    MOST,
    CrosswalkJson,
    csv_head,
    csv_lines,
    dump_entry,
    read_csv,
)
from schemas.fields import is_source
from schemas.id_mapping import NOT_IN_CROSSWALK, ids_in
from schemas.raw_rows import source_at, sources_of

_CSV = "text/csv"
#: Entries, or outcomes, that one look at the records reads.
_AT_ONCE = 2_000
_UNMAPPED = Filter(
    frozenset({Code.REFUSED, Code.INVALID}),
    frozenset({Reason.INVALID_ROW, Reason.COURSE_NOT_FOUND, Reason.LEARNER_NOT_FOUND}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosswalkResource:
    """All entries of one source."""

    records: Records

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """A page in JSON, everything in CSV."""
        known_source(source)
        keep_private(resp)
        resp.set_header("Vary", "Accept")
        if req.client_prefers([JSON, _CSV]) == _CSV:
            _as_file(resp, f"crosswalk-{source}.csv")
            resp.stream = self._file(source)
            return
        limit, after = page_size(req), read_place(req)
        entries = await self.records.read(crosswalks.page, source, after=after, limit=limit)
        last = entries[-1] if len(entries) == limit else None
        shown: CrosswalkJson = {
            "source": source,
            "entries": list(map(dump_entry, entries)),
            "next": last and cursor_at(f"{last.kind.value} {last.theirs}"),
        }
        write_json(resp, shown)

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, source: str) -> None:
        """These entries and no others."""
        await self._save(req, resp, source, crosswalks.put)

    async def on_patch(self, req: Request, resp: Response, source: str) -> None:
        """These entries beside those that are there; those of the same ids are replaced."""
        await self._save(req, resp, source, crosswalks.merge)

    async def _save(
        self,
        req: Request,
        resp: Response,
        source: str,
        save: Callable[[Session, str, list[Entry]], None],
    ) -> None:
        known_source(source)
        entries = await self._entries(req, whole=save is crosswalks.put)
        await self.records.write(save, source, entries)
        write_saved(resp, len(entries), is_replay=False)

    async def _entries(self, req: Request, *, whole: bool) -> list[Entry]:
        media_type = (req.content_type or "").partition(";")[0].strip().lower()
        if media_type not in {JSON, NDJSON, _CSV}:
            raise unsupported(f"Send {JSON}, {NDJSON} or {_CSV}.")
        body = await read_body(req, MAX_MANY)
        try:
            if media_type == _CSV:
                return await self.records.run(lambda: read_csv(body, whole=whole))
            return await self.records.run(lambda: MANY.read(body, media_type))
        except TooManyObjects as error:
            message = f"At most {MOST} entries are taken at once: send the rest with PATCH."
            raise too_large(message) from error
        except BadObjects as error:
            raise bad_request("invalid_body", str(error), *error.found) from error

    async def _file(self, source: str) -> AsyncIterator[bytes]:
        """Short reads, one after the other."""
        yield csv_head().encode()
        after: tuple[str, str] | None = None
        while True:
            entries = await self.records.read(crosswalks.page, source, after=after, limit=_AT_ONCE)
            yield csv_lines(entries).encode()
            if len(entries) < _AT_ONCE:
                return
            after = entries[-1].kind.value, entries[-1].theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingResource:
    """Ids that the rows of a submission came to grief on."""

    records: Records
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, source: str) -> None:
        """A CSV file to be filled in and sent back with PATCH."""
        known_source(source)
        keep_private(resp)
        named = req.get_param("submission")
        if not named:
            message = "Say which submission: ?submission=ID"
            raise bad_request(
                "invalid_parameter", message, {"field": "submission", "rule": "required"}
            )
        caller: Caller = req.context.caller
        wanted = submission_id(named)
        status = await self.records.read(answers.status, wanted, caller)
        if status.submission.finished_at is None:
            raise not_finished(status.submission, self.now())
        if source not in sources_of(status.submission):
            message = f"The ids of that submission are not those of {source}."
            raise bad_request(
                "invalid_parameter", message, {"field": "submission", "rule": "mismatch"}
            )
        missing = await self._missing(source, status.submission)
        _as_file(resp, f"to-map-{source}.csv")
        rows = [(theirs.kind.value, theirs.id, "") for theirs in missing]
        resp.text = csv_head() + csv_lines(rows)

    on_head = on_get

    async def _missing(self, source: str, submission: Submission) -> list[Theirs]:
        """In the order of the input, each once; at most so many as are taken back at once."""
        missing: dict[Theirs, None] = {}
        cursor: Cursor | None = Cursor()
        while cursor is not None and len(missing) < MOST:
            page = await self.records.read(
                answers.outcomes_page, submission, cursor, _UNMAPPED, limit=_AT_ONCE
            )
            named = dict.fromkeys(_unmapped(page.answers, submission, source))
            known = await self.records.read(crosswalks.find_many, named.keys())
            missing |= {theirs: None for theirs in named if theirs not in known}
            cursor = page.next if page.next != cursor else None
        return list(missing)[:MOST]


def _unmapped(answered: Iterable[Answer], submission: Submission, source: str) -> Iterator[Theirs]:
    """The ids of a source that rows were refused for."""
    for outcome, row in answered:
        if row is None or source_at(submission, outcome.line) != source:
            continue
        blamed = _blamed(outcome.reason, outcome.details or {})
        for theirs in ids_in(row.members, source):
            if theirs.kind in blamed:
                yield theirs


def _blamed(reason: Reason | None, details: Mapping[str, object]) -> set[IdKind]:
    """Which sort of ids an outcome is about."""
    if reason is Reason.COURSE_NOT_FOUND:
        return {IdKind.COURSE}
    if reason is Reason.LEARNER_NOT_FOUND:
        return {IdKind.LEARNER}
    errors = details.get("errors")
    found = errors if isinstance(errors, list) else []
    return {IdKind(one["kind"]) for one in found if one.get("rule") == NOT_IN_CROSSWALK}


def _as_file(resp: Response, name: str) -> None:
    resp.content_type = f"{_CSV}; charset=utf-8"
    resp.set_header("Content-Disposition", f'attachment; filename="{name}"')


def known_source(source: str) -> None:
    """Raise Problem 400 for what cannot name a source."""
    if not is_source(source):
        found = {"field": "source", "value": source[:100], "rule": "source"}
        raise bad_request("invalid_source", "The address names no source.", found)


def read_place(req: Request) -> tuple[str, str] | None:
    """Where the page begins. Raises Problem 400 for a cursor that is none of ours."""
    text = place_of(req)
    if text is None:
        return None
    kind, _, theirs = text.partition(" ")
    if kind not in set(IdKind):
        message = "cursor is none that was given out here."
        raise bad_request("invalid_parameter", message, {"field": "cursor", "rule": "range"})
    return kind, theirs
