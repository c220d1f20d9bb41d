"""Makes the resource of each route from the parts of the gateway."""

from functools import partial

from api_gateway.auth.token_issuer import TokenIssuer
from api_gateway.intake.pending_rows import PendingRows
from api_gateway.intake.spool import Spooler
from api_gateway.openapi.resource import documentation
from api_gateway.parts import Parts
from api_gateway.resources.bulk_enroll import BulkEnrollResource
from api_gateway.resources.changes import ChangesResource
from api_gateway.resources.common.finished_submission import FinishedSubmissions
from api_gateway.resources.course_details import CourseDetailsResource
from api_gateway.resources.courses import CourseResource, CoursesResource
from api_gateway.resources.crosswalks import CrosswalkResource, MissingIdsResource
from api_gateway.resources.destinations.reports import make_report_resources
from api_gateway.resources.destinations.resources import make_destination_resources
from api_gateway.resources.enrollment import EnrollmentResource
from api_gateway.resources.enrollment_detail import EnrollmentDetailResource
from api_gateway.resources.enrollments import EnrollmentsResource
from api_gateway.resources.health import LiveResource, ReadyResource
from api_gateway.resources.invitations import InvitationResource
from api_gateway.resources.learners import LearnerResource, LearnersResource
from api_gateway.resources.metrics import MetricsResource
from api_gateway.resources.openedx.access_token import AccessTokenResource
from api_gateway.resources.openedx.accounts import AccountResource, AccountsResource, MeResource
from api_gateway.resources.openedx.catalog import CatalogCourseResource, CatalogResource
from api_gateway.resources.openedx.eligibility import EligibilityResource
from api_gateway.resources.openedx.enrollment_allowed import EnrollmentAllowedResource
from api_gateway.resources.openedx.roles import CourseRoleResource, RolesResource
from api_gateway.resources.openedx.unenroll import UnenrollResource
from api_gateway.resources.openedx_v2.resources import make_v2_resources
from api_gateway.resources.outcomes import OutcomesResource
from api_gateway.resources.submission import CancelResource, EventsResource, SubmissionResource
from api_gateway.resources.submissions import SubmissionsResource
from api_gateway.resources.webhooks.resources import make_webhook_resources
from api_gateway.routes import ROUTES, V1
from api_gateway.status.health.inbound_backlog import make_inbound_probe
from api_gateway.status.health.relay_lag import enabled_channels
from api_gateway.status.long_poll import long_poll_quota
from enrollment.runtime.outbound.secret_encryption import secret_encryption


def make_resources(parts: Parts) -> dict[str, object]:
    """Returns the resource of each route name."""
    v1 = {**_enrollment_resources(parts), **_openedx_resources(parts)}
    return {
        **v1,
        **make_v2_resources(v1, parts.lists),
        **_submission_resources(parts),
        **_reference_data_resources(parts),
        **make_webhook_resources(parts.settings, parts.database, parts.lists, parts.now),
        **make_destination_resources(parts.settings, parts.database, parts.lists, parts.now),
        **make_report_resources(parts.database, parts.lists, parts.now),
        "access_token": _access_token_resource(parts),
        **_health_resources(parts),
        **documentation(ROUTES, V1),
    }


def _health_resources(parts: Parts) -> dict[str, object]:
    settings = parts.settings
    channels, inbound = enabled_channels(settings), make_inbound_probe(settings)
    return {
        "livez": LiveResource(),
        "readyz": ReadyResource(
            database=parts.database,
            ping_redis=parts.ping_redis,
            broker=parts.broker,
            draining=parts.draining,
            now=parts.now,
            channels=channels,
            inbound=inbound,
            encryption=partial(secret_encryption, settings),
            shared_key=parts.shared_key,
        ),
        "metrics": MetricsResource(
            database=parts.database,
            ping_redis=parts.ping_redis,
            broker=parts.broker,
            channels=channels,
            inbound=inbound,
        ),
    }


def _access_token_resource(parts: Parts) -> AccessTokenResource:
    authenticator = parts.authenticator
    issuer = TokenIssuer(
        authenticator.clients,
        parts.shared_key,
        max_lifetime=parts.settings.jwt_max_lifetime,
        now=parts.now,
    )
    return AccessTokenResource(issuer, parts.throttle)


def _enrollment_resources(parts: Parts) -> dict[str, object]:
    database, now, settings = parts.database, parts.now, parts.settings
    return {
        "enrollment": EnrollmentResource(
            database=database,
            reads=parts.reads,
            group_commit=parts.group_commit,
            waiters=parts.waiters,
            now=now,
            default_wait=settings.default_wait,
            self_unenroll=settings.self_unenroll,
            accepts_unknown_learners=settings.accepts_unknown_learners,
        ),
        "enrollment_detail": EnrollmentDetailResource(database=database, reads=parts.reads),
        "enrollments": EnrollmentsResource(lists=parts.lists),
        "course_details": CourseDetailsResource(parts.details),
        "changes": ChangesResource(lists=parts.lists, streams=parts.change_streams),
    }


def _submission_resources(parts: Parts) -> dict[str, object]:
    database, now, settings = parts.database, parts.now, parts.settings
    lists, reader, streams = parts.lists, parts.status_reader, parts.event_streams
    return {
        "submissions": _uploads_resource(parts),
        "submission": SubmissionResource(
            reader=reader,
            waiters=parts.waiters,
            event_streams=streams,
            quota=long_poll_quota(settings.max_long_polls_per_caller),
            link_tokens=parts.link_tokens,
            now=now,
        ),
        "submission_events": EventsResource(reader=reader, event_streams=streams),
        "submission_outcomes": OutcomesResource(database=database, lists=lists, now=now),
        "submission_cancel": CancelResource(
            database=database,
            dispatcher=parts.dispatcher,
            link_tokens=parts.link_tokens,
            now=now,
        ),
        "bulk_enroll": BulkEnrollResource(
            database=database,
            upload_store=parts.upload_store,
            finished=_finished_submissions(parts),
            now=now,
            default_wait=settings.default_wait,
        ),
    }


def _finished_submissions(parts: Parts) -> FinishedSubmissions:
    return FinishedSubmissions(
        database=parts.database, reader=parts.status_reader, waiters=parts.waiters
    )


def _openedx_resources(parts: Parts) -> dict[str, object]:
    database, now, settings = parts.database, parts.now, parts.settings
    return {
        "roles": RolesResource(database=database),
        "course_role": CourseRoleResource(database=database, now=now),
        "unenroll": UnenrollResource(
            database=database,
            upload_store=parts.upload_store,
            finished=_finished_submissions(parts),
            now=now,
            default_wait=settings.default_wait,
        ),
        "enrollment_allowed": EnrollmentAllowedResource(database=database, now=now),
        "eligibility": EligibilityResource(
            database=database,
            default_mode=settings.default_mode,
            accepts_unknown_learners=settings.accepts_unknown_learners,
        ),
        "accounts": AccountsResource(database=database),
        "account": AccountResource(database=database),
        "me": MeResource(),
        "catalog": CatalogResource(lists=parts.lists),
        "catalog_course": CatalogCourseResource(database),
    }


def _uploads_resource(parts: Parts) -> SubmissionsResource:
    database, settings = parts.database, parts.settings
    return SubmissionsResource(
        database=database,
        lists=parts.lists,
        upload_store=parts.upload_store,
        spooler=Spooler(settings.max_upload_bytes, max_per_caller=settings.max_uploads_per_caller),
        link_tokens=parts.link_tokens,
        pending_rows=PendingRows(database, settings.max_pending_rows_per_caller),
        now=parts.now,
    )


def _reference_data_resources(parts: Parts) -> dict[str, object]:
    database, now = parts.database, parts.now
    return {
        "courses": CoursesResource(database, parts.lists, parts.details),
        "course": CourseResource(database, parts.details),
        "learners": LearnersResource(database),
        "learner": LearnerResource(database),
        "invitation": InvitationResource(database, now=now),
        "crosswalk": CrosswalkResource(database=database, lists=parts.lists),
        "crosswalk_missing": MissingIdsResource(database=database, lists=parts.lists, now=now),
    }
