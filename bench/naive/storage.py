"""Tables and the transaction of the baseline."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Engine,
    Identity,
    MetaData,
    Row,
    Table,
    Text,
    bindparam,
    create_engine,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData()
course = Table(
    "course",
    metadata,
    Column("course_id", Text, primary_key=True),
    Column("opens_at", DateTime(timezone=True)),
    Column("closes_at", DateTime(timezone=True)),
)
enrollment = Table(
    "enrollment",
    metadata,
    Column("username", Text, primary_key=True),
    Column("course_id", Text, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
)
event = Table(
    "event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("username", Text, nullable=False),
    Column("course_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)


WINDOW = select(course.c.opens_at, course.c.closes_at).where(
    course.c.course_id == bindparam("wanted")
)
ADD_EVENT = insert(event).inline()  # the id is not needed
STATED_COLUMNS = ("mode", "is_active", "asked_at")


def _upsert() -> postgresql.Insert:
    written = postgresql.insert(enrollment)
    stated = {name: written.excluded[name] for name in STATED_COLUMNS}
    return written.on_conflict_do_update(index_elements=["username", "course_id"], set_=stated)


UPSERT = _upsert()


@cache
def engine_of(url: str) -> Engine:
    """Returns the engine of this process, created at first use: after the worker has forked."""
    return create_engine(url)


def create_tables(url: str, courses: Iterable[Mapping[str, Any]]) -> None:
    """Creates the tables and inserts the courses."""
    engine = create_engine(url)
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(
            insert(course),
            [
                {
                    "course_id": one["course_id"],
                    "opens_at": one.get("enrollment_start"),
                    "closes_at": one.get("enrollment_end"),
                }
                for one in courses
            ],
        )
    engine.dispose()


def enroll(url: str, request: Mapping[str, Any]) -> None:
    """Decides one request and stores the result; every request has exactly one event."""
    now = datetime.now(UTC)
    asked_at = datetime.fromisoformat(request["requested_at"]) if request["requested_at"] else now
    pair = {"username": request["user"], "course_id": request["course_id"]}
    state = {"mode": request["mode"] or "audit", "is_active": request["is_active"]}
    with engine_of(url).begin() as connection:
        window = connection.execute(WINDOW, {"wanted": request["course_id"]}).one_or_none()
        kind = _kind(request, window, asked_at)
        if kind != "refused":
            connection.execute(UPSERT, {**pair, **state, "asked_at": asked_at})
        connection.execute(ADD_EVENT, {**pair, "kind": kind, "at": now})


def _kind(request: Mapping[str, Any], window: Row[Any, Any] | None, asked_at: datetime) -> str:
    if not request["is_active"]:
        return "deactivated"
    if window is None:
        return "refused"
    early = window.opens_at is not None and asked_at <= window.opens_at
    late = window.closes_at is not None and asked_at >= window.closes_at
    return "refused" if early or late else "enrolled"
