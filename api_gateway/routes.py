"""Routes: the URI template of each route name."""

from falcon.asgi import Request

from api_gateway.resources.enrollment_detail import is_history

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


def is_for_v1(req: Request) -> bool:
    """Returns whether a request is for Open edX's own API; a history is of ours."""
    template = req.uri_template
    if template == ROUTES["enrollment_detail"]:
        return not is_history(req.path.removeprefix(f"{ROUTES['enrollment']}/"))
    return template in V1
