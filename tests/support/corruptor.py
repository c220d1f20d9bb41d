"""Changes the database by SQL, past all constraints and guards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, text

from enrollment.domain.model import Outcome
from enrollment.storage.event_ids import batch_id_of
from schemas.outcomes import decode_outcomes, encode_outcomes
from tests.support.in_process_service import World


class Corruptor:
    """Changes rows by SQL, with or without foreign keys."""

    def __init__(self, world: World) -> None:
        self.world = world

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        engine = create_engine(
            self.world.sessions.engine.url
        )  # SQLite does not check foreign keys then
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET session_replication_role = replica")
            yield connection
        engine.dispose()

    def sql(self, statement: str, **given: Any) -> None:
        """Executes one statement that must change something."""
        with self._connection() as connection:
            assert connection.execute(text(statement), given).rowcount > 0, statement

    def value(self, query: str, **given: Any) -> Any:
        """Returns the first row of a query."""
        with self._connection() as connection:
            return connection.execute(text(query), given).scalar_one()

    def chain(self, username: str) -> list[int]:
        """Returns the events of a learner with one enrollment, in the order of the feed."""
        return [event.id for event in self.world.events() if event.username == username]

    def batch_of(self, username: str) -> int:
        """Returns the batch of a learner's first event."""
        return batch_id_of(self.chain(username)[0])

    def outcomes(self, batch_id: int, change: Callable[[list[Outcome]], list[Outcome]]) -> None:
        """Replaces the outcomes of a batch."""
        kept = self.value("SELECT outcomes FROM batch WHERE id = :id", id=batch_id)
        changed = encode_outcomes(change(decode_outcomes(bytes(kept))))
        self.sql("UPDATE batch SET outcomes = :kept WHERE id = :id", kept=changed, id=batch_id)
