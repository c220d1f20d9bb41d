"""Makes the loop of jobs from the settings."""

import os
import socket
from collections.abc import Callable
from functools import partial
from uuid import uuid4

from enrollment.runtime.outbound.guarded_http import guarded_client
from enrollment.runtime.outbound.policy import outbound_policy
from enrollment.runtime.outbound.secret_encryption import secret_encryption
from enrollment.runtime.settings import Settings
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.batches import BatchRef
from worker.destinations.clients import DestinationClients
from worker.destinations.reports.import_intake import ImportIntake
from worker.destinations.reports.report_loop import ReportLoop


def make_report_loop(
    settings: Settings, sessions: Sessions, dispatch: Callable[[BatchRef], object]
) -> ReportLoop:
    """Returns the loop of a process. Connects to nothing."""
    policy = outbound_policy(settings)
    clients = DestinationClients(
        make_http=lambda number: guarded_client(policy, max_connections=number),
        encryption=partial(secret_encryption, settings),
    )
    return ReportLoop(
        sessions=sessions,
        clients=clients,
        intake=ImportIntake(sessions=sessions, dispatch=dispatch),
        holder=f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid4().hex}"[:64],
    )
