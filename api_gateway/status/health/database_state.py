"""The state of the database, for the readiness probe."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from api_gateway.status.health.destination_backlog import ReportedBacklog, report_backlogs
from api_gateway.status.health.process_states import ProcessStates, load_process_states
from api_gateway.status.health.relay_lag import ChannelLag, load_lags
from api_gateway.status.health.stored_secrets import find_undecryptable
from enrollment.runtime.outbound.secret_encryption import SecretEncryption
from enrollment.storage import migrate
from enrollment.storage.engine import durability
from enrollment.storage.engine.durability import DurabilityFact
from enrollment.storage.outbox.relay_positions import ChannelName
from enrollment.storage.queue.backlog import Backlog, load_backlog
from enrollment.storage.upkeep import maintenance_turns
from enrollment.storage.webhooks import deliveries
from enrollment.storage.webhooks.deliveries import PendingDeliveries

#: Returns the keys of stored secrets; raises NoEncryptionKey.
EncryptionLoader = Callable[[], SecretEncryption]

_NO_PROCESSES = ProcessStates(datetime.min.replace(tzinfo=UTC), ())


class DatabaseState(NamedTuple):
    """The state of the database."""

    facts: list[DurabilityFact]
    #: Why the service cannot use it; empty if it can.
    defect: str
    backlog: Backlog = Backlog(0, None, 0)
    #: When last nothing was left to purge.
    purged_at: datetime | None = None
    lags: tuple[ChannelLag, ...] = ()
    processes: ProcessStates = _NO_PROCESSES
    deliveries: PendingDeliveries = PendingDeliveries()
    destinations: tuple[ReportedBacklog, ...] = ()
    #: A sentence on stored secrets that cannot be decrypted; empty if all can.
    undecryptable: str = ""


def load_database_state(
    channels: tuple[ChannelName, ...], encryption: EncryptionLoader | None, session: Session
) -> DatabaseState:
    """Returns the state of the database, and the facts in it that a health check reports."""
    facts = durability.load_durability_facts(session)
    if defect := durability.cannot_write(facts):
        session.invalidate()  # another connection may reach a server that accepts writes
        return DatabaseState(facts, defect)
    if defect := migrate.defect(session):
        return DatabaseState(facts, defect)
    backlog, purged_at = load_backlog(session), maintenance_turns.last_end(session)
    return DatabaseState(
        facts,
        "",
        backlog,
        purged_at,
        tuple(load_lags(session, channels)),
        load_process_states(session),
        deliveries.load_pending(session),
        tuple(report_backlogs(session)),
        "" if encryption is None else find_undecryptable(session, encryption),
    )
