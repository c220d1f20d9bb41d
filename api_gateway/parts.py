"""The parts of the gateway that resources share."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from api_gateway.auth.authentication import Authenticator
from api_gateway.auth.caller_throttle import CallerThrottle
from api_gateway.auth.links.link_tokens import LinkTokens
from api_gateway.auth.signing.shared_key import SharedSigningKey
from api_gateway.broker_probe import BrokerProbe
from api_gateway.course_details_cache import CourseDetailsCache
from api_gateway.database import Database, ListReader
from api_gateway.feed.change_stream import ChangeStreams
from api_gateway.http.draining import Draining
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.intake.group_commit import GroupCommitter
from api_gateway.intake.upload_store import UploadStore
from api_gateway.reads.enrollment_reads import EnrollmentReads
from api_gateway.status.event_stream import EventStreams
from api_gateway.status.status_reader import StatusReader
from api_gateway.status.waiters import Waiters
from enrollment.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All parts of the gateway, also those that are started and stopped with the server."""

    settings: Settings
    database: Database
    #: The thread pool of single requests: slow reads must not delay them.
    intake_database: Database
    #: The thread of authentication: no request waits for others' reads to be recognized.
    auth_database: Database
    #: The thread of lists.
    lists: ListReader
    #: Reads of enrollments, in threads of their own.
    reads: EnrollmentReads
    group_commit: GroupCommitter
    upload_store: UploadStore
    uploads_pool: ThreadPoolExecutor
    dispatcher: Dispatcher
    waiters: Waiters
    status_reader: StatusReader
    event_streams: EventStreams
    change_streams: ChangeStreams
    details: CourseDetailsCache
    link_tokens: LinkTokens
    #: The key that signs tokens of our own, sessions and links.
    shared_key: SharedSigningKey
    throttle: CallerThrottle
    ping_redis: Callable[[], bool]
    #: None if Redis is the broker.
    broker: BrokerProbe | None
    #: Whether the process is shutting down.
    draining: Draining
    now: Callable[[], datetime]

    @property
    def authenticator(self) -> Authenticator:
        """Authenticates by headers; `link_tokens` does so by tokens in links as well."""
        return self.link_tokens.authenticator
