"""Routes: the URI template and the resource of each route name."""

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
from api_gateway.status.inbound_backlog import make_inbound_probe
from api_gateway.status.long_poll import long_poll_quota
from api_gateway.status.relay_lag import enabled_channels

BASE = "/api/enrollment/v1"
BASE_V2 = "/api/enrollment/v2"

#: URI template by route name; `PERMISSIONS` has entries for every name.
ROUTES = {
    "enrollment": f"{BASE}/enrollment",
    "enrollment_detail": f"{BASE}/enrollment/{{names:path}}",
    "enrollments": f"{BASE}/enrollments",
    "course_details": f"{BASE}/course/{{course_id:path}}",
    "submissions": f"{BASE}/submissions",
    "submission": f"{BASE}/submissions/{{id}}",
    "submission_events": f"{BASE}/submissions/{{id}}/events",
    "submission_outcomes": f"{BASE}/submissions/{{id}}/outcomes",
    "submission_cancel": f"{BASE}/submissions/{{id}}/cancel",
    "bulk_enroll": "/api/bulk_enroll/v1/bulk_enroll",
    "courses": f"{BASE}/courses",
    "course": f"{BASE}/courses/{{course_id:path}}",
    "learners": f"{BASE}/learners",
    "learner": f"{BASE}/learners/{{username}}",
    "invitation": f"{BASE}/invitations/{{rest:path}}",
    "crosswalk": f"{BASE}/crosswalks/{{source}}",
    "crosswalk_missing": f"{BASE}/crosswalks/{{source}}/missing",
    "changes": f"{BASE}/changes",
    "webhooks": f"{BASE}/webhooks",
    "webhook": f"{BASE}/webhooks/{{webhook}}",
    "webhook_rotate": f"{BASE}/webhooks/{{webhook}}/rotate",
    "webhook_enable": f"{BASE}/webhooks/{{webhook}}/enable",
    "webhook_disable": f"{BASE}/webhooks/{{webhook}}/disable",
    "webhook_redeliver": f"{BASE}/webhooks/{{webhook}}/redeliver",
    "webhook_deliveries": f"{BASE}/webhooks/{{webhook}}/deliveries",
    "webhook_delivery_redeliver": (
        f"{BASE}/webhooks/{{webhook}}/deliveries/{{delivery}}/redeliver"
    ),
    "destinations": f"{BASE}/destinations",
    "destination": f"{BASE}/destinations/{{destination}}",
    "destination_pause": f"{BASE}/destinations/{{destination}}/pause",
    "destination_resume": f"{BASE}/destinations/{{destination}}/resume",
    "destination_retry": f"{BASE}/destinations/{{destination}}/retry",
    "destination_deliveries": f"{BASE}/destinations/{{destination}}/deliveries",
    "destination_delivery_retry": (
        f"{BASE}/destinations/{{destination}}/deliveries/{{delivery}}/retry"
    ),
    "destination_reconcile": f"{BASE}/destinations/{{destination}}/reconcile",
    "destination_pull": f"{BASE}/destinations/{{destination}}/pull",
    "destination_import": f"{BASE}/destinations/{{destination}}/import",
    "destination_report": f"{BASE}/destinations/{{destination}}/reports/{{report}}",
    "roles": f"{BASE}/roles",
    "course_role": f"{BASE}/roles/{{rest:path}}",
    "unenroll": f"{BASE}/unenroll",
    "enrollment_allowed": f"{BASE}/enrollment_allowed",
    "eligibility": f"{BASE}/eligibility/{{names:path}}",
    "accounts": "/api/user/v1/accounts",
    "account": "/api/user/v1/accounts/{username}",
    "me": "/api/user/v1/me",
    "catalog": "/api/courses/v1/courses",
    "catalog_course": "/api/courses/v1/courses/{course_id:path}",
    "v2_enrollment": f"{BASE_V2}/enrollment",
    "v2_unenroll": f"{BASE_V2}/enrollment/unenroll",
    "v2_enrollment_allowed": f"{BASE_V2}/enrollment/enrollment_allowed",
    "v2_enrollments": f"{BASE_V2}/enrollments",
    "v2_enrollment_detail": f"{BASE_V2}/enrollments/{{names:path}}",
    "v2_course_details": f"{BASE_V2}/courses/{{course_id:path}}",
    "v2_roles": f"{BASE_V2}/roles",
    "v2_unenroll_legacy": f"{BASE_V2}/unenroll",
    "v2_allowed_legacy": f"{BASE_V2}/enrollment_allowed",
    "v2_enrollment_legacy": f"{BASE_V2}/enrollment/{{names:path}}",
    "v2_course_legacy": f"{BASE_V2}/course/{{course_id:path}}",
    "access_token": "/oauth2/access_token",
    "livez": "/livez",
    "readyz": "/readyz",
    "metrics": "/metrics",
    "openapi": "/openapi.json",
    "docs": "/docs",
    "docs_reasons": "/docs/reasons",
    "docs_style": "/docs/style.css",
}

#: The routes of Open edX's own API, where errors are sent as `application/json`.
V1 = frozenset(
    ROUTES[name]
    for name in (
        "enrollment",
        "enrollment_detail",
        "enrollments",
        "course_details",
        "bulk_enroll",
        "roles",
        "unenroll",
        "enrollment_allowed",
        "accounts",
        "account",
        "me",
        "catalog",
        "catalog_course",
        "access_token",
    )
)


def make_resources(parts: Parts) -> dict[str, object]:
    """Returns the resource of each route name."""
    v1 = {**_enrollment_resources(parts), **_openedx_resources(parts)}
    inbound = make_inbound_probe(parts.settings)
    return {
        **v1,
        **make_v2_resources(v1, parts.lists),
        **_submission_resources(parts),
        **_reference_data_resources(parts),
        **make_webhook_resources(parts.settings, parts.database, parts.lists, parts.now),
        **make_destination_resources(parts.settings, parts.database, parts.lists, parts.now),
        **make_report_resources(parts.database, parts.lists, parts.now),
        "access_token": _access_token_resource(parts),
        "livez": LiveResource(),
        "readyz": ReadyResource(
            database=parts.database,
            ping_redis=parts.ping_redis,
            broker=parts.broker,
            draining=parts.draining,
            now=parts.now,
            channels=enabled_channels(parts.settings),
            inbound=inbound,
            shared_key=parts.shared_key,
        ),
        "metrics": MetricsResource(
            database=parts.database,
            channels=enabled_channels(parts.settings),
            inbound=inbound,
        ),
        **documentation(ROUTES, V1),
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
