"""Crosswalks: maps from ids of other systems to ours, one for each source."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import String, delete, func, select, text, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from enrollment.domain.codes import IdKind
from enrollment.domain.crosswalks import CrosswalkEntry, ExternalId
from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import CrosswalkRow

#: Entries in one statement.
_ROWS_PER_STATEMENT = 5_000
#: Ids to look up, by `theirs` or by `ours`.
_WANTED = ArrayTable("wanted", source=String(), kind=String(), id=String())


def find_many(session: Session, wanted: Collection[ExternalId]) -> Mapping[ExternalId, str]:
    """Returns our ids for those of the given ids that are mapped, in one statement."""
    return dict(_mapped(session, CrosswalkRow.theirs, wanted))


def find_external_ids(
    session: Session, local_ids: Collection[ExternalId]
) -> list[tuple[ExternalId, str]]:
    """Returns the external ids that are mapped to the given ids of this service, each with that.

    Each of `local_ids` has an id of this service in place of an external one.
    """
    return _mapped(session, CrosswalkRow.ours, local_ids)


def _mapped(
    session: Session, column: InstrumentedAttribute[str], wanted: Collection[ExternalId]
) -> list[tuple[ExternalId, str]]:
    """Returns the entries whose column has one of the ids, in one statement."""
    if not wanted:
        return []
    table = _WANTED.table(postgresql=is_postgresql(session))
    query = select(
        CrosswalkRow.source, CrosswalkRow.kind, CrosswalkRow.theirs, CrosswalkRow.ours
    ).join(
        table,
        (CrosswalkRow.source == table.c.source)
        & (CrosswalkRow.kind == table.c.kind)
        & (column == table.c.id),
    )
    rows = session.execute(query, _WANTED.parameters(session, *zip(*sorted(wanted), strict=True)))
    return [(ExternalId(row[0], IdKind(row[1]), row[2]), row[3]) for row in rows]


def replace_all(session: Session, source: str, entries: Sequence[CrosswalkEntry]) -> None:
    """Replaces all entries of a source."""
    _lock_exclusively(session)
    session.execute(delete(CrosswalkRow).where(CrosswalkRow.source == source))
    _save(session, source, entries)


def merge(session: Session, source: str, entries: Sequence[CrosswalkEntry]) -> None:
    """Inserts or updates entries of a source; others stay."""
    _lock_exclusively(session)
    _save(session, source, entries)


def page(
    session: Session, source: str, *, after: tuple[str, str] | None, limit: int
) -> list[CrosswalkEntry]:
    """Returns entries in the order of kind and foreign id, those after a key."""
    query = (
        select(CrosswalkRow.kind, CrosswalkRow.theirs, CrosswalkRow.ours)
        .where(CrosswalkRow.source == source)
        .order_by(CrosswalkRow.kind, CrosswalkRow.theirs)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(CrosswalkRow.kind, CrosswalkRow.theirs) > after)
    return [
        CrosswalkEntry(IdKind(kind), theirs, ours) for kind, theirs, ours in session.execute(query)
    ]


def list_sources(session: Session, *, limit: int) -> list[str]:
    """Returns the sources that have entries, by name; one look-up in an index for each."""
    found: list[str] = []
    while len(found) < limit:
        query = select(func.min(CrosswalkRow.source))
        following = session.scalar(query.where(CrosswalkRow.source > found[-1]) if found else query)
        if following is None:
            break
        found.append(following)
    return found


def count(session: Session, source: str) -> int:
    """Returns the number of entries of a source."""
    query = select(func.count()).select_from(CrosswalkRow).where(CrosswalkRow.source == source)
    return session.scalars(query).one()


def _lock_exclusively(session: Session) -> None:
    """Locks the table against other writers, so that concurrent replacements do not mix."""
    if is_postgresql(session):
        session.execute(text("LOCK TABLE crosswalk IN SHARE ROW EXCLUSIVE MODE"))


def _save(session: Session, source: str, entries: Sequence[CrosswalkEntry]) -> None:
    insert = insert_on(postgresql=is_postgresql(session))(CrosswalkRow)
    statement = insert.on_conflict_do_update(
        index_elements=["source", "kind", "theirs"], set_={"ours": insert.excluded.ours}
    )
    for start in range(0, len(entries), _ROWS_PER_STATEMENT):
        rows = [
            {"source": source, "kind": kind, "theirs": external_id, "ours": local_id}
            for kind, external_id, local_id in entries[start : start + _ROWS_PER_STATEMENT]
        ]
        session.execute(statement, rows)
