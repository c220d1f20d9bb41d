"""Schemas of responses, derived from the types that the serializers return."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from inspect import cleandoc
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from api_gateway.http.problems import FieldErrorJson, ProblemJson
from api_gateway.openapi.model import BOOLEAN, NULL, TEXT, Schema, array, enumeration, ref
from api_gateway.resources.health import LiveJson, ReadyJson
from api_gateway.resources.openedx.access_token import AccessTokenJson
from api_gateway.status.health.inbound_backlog import InboundBacklogJson
from api_gateway.status.health.relay_lag import RelayLagJson
from enrollment.domain.events import StoredAttribute, StoredState
from schemas import courses, crosswalks, enrollments, openedx_bulk_enroll, submissions
from schemas.course_patches import CourseDifferenceJson, PatchedCoursesJson
from schemas.destinations import deliveries as state_deliveries
from schemas.destinations import members as destinations
from schemas.destinations import receivers, reports
from schemas.encoding.json_types import FindingJson, SavedJson
from schemas.events import ChangesJson, EventDataJson, EventJson, HistoryJson
from schemas.invitations import InvitationJson
from schemas.learners import LearnerJson
from schemas.openedx import catalog, numbered_pages, roles
from schemas.openedx.accounts import AccountJson, MeJson
from schemas.openedx.eligibility import EligibilityJson
from schemas.openedx.enrollment_allowed import AllowedJson
from schemas.outcomes import BulkEnrollStateJson, OutcomeJson, OutcomePageJson
from schemas.submission_options import OptionsJson
from schemas.webhooks import endpoints as webhooks

#: The type of each component. The names are a contract with generated clients.
RESPONSES: Mapping[str, type] = {
    "Problem": ProblemJson,
    "FieldError": FieldErrorJson,
    "Finding": FindingJson,
    "Mode": courses.ModeJson,
    "CourseDetails": courses.CourseDetailsJson,
    "KeptCourse": courses.CourseJson,
    "CoursePage": courses.CoursePageJson,
    "Saved": SavedJson,
    "PatchedCourses": PatchedCoursesJson,
    "CourseDifference": CourseDifferenceJson,
    "KeptLearner": LearnerJson,
    "KeptInvitation": InvitationJson,
    "Enrollment": enrollments.EnrollmentJson,
    "EnrollmentRow": enrollments.EnrollmentRowJson,
    "EnrollmentPage": enrollments.EnrollmentPageJson,
    "Outcome": OutcomeJson,
    "OutcomePage": OutcomePageJson,
    "Counts": submissions.CountsJson,
    "Options": OptionsJson,
    "ArchiveFile": submissions.ArchiveFileJson,
    "Submission": submissions.SubmissionJson,
    "SubmissionPage": submissions.SubmissionPageJson,
    "Standing": StoredState,
    "Event": EventJson,
    "EventData": EventDataJson,
    "Changes": ChangesJson,
    "History": HistoryJson,
    "Crosswalk": crosswalks.CrosswalkJson,
    "BulkEnrollState": BulkEnrollStateJson,
    "BulkEnrollResult": openedx_bulk_enroll.BulkEnrollResultJson,
    "BulkEnrollCourse": openedx_bulk_enroll.BulkEnrollCourseJson,
    "BulkEnrollAnswer": openedx_bulk_enroll.BulkEnrollJson,
    "Role": roles.RoleJson,
    "Roles": roles.RolesJson,
    "CourseRole": roles.CourseRoleJson,
    "AllowedEnrollment": AllowedJson,
    "Account": AccountJson,
    "Me": MeJson,
    "CatalogCourse": catalog.CatalogCourseJson,
    "CatalogPage": catalog.CatalogPageJson,
    "LearnerPage": numbered_pages.LearnerPageJson,
    "AllPage": numbered_pages.AllPageJson,
    "CatalogPagination": catalog.PageLinksJson,
    "Eligibility": EligibilityJson,
    "AccessToken": AccessTokenJson,
    "DestinationReport": reports.DestinationReportJson,
    "Difference": reports.DifferenceJson,
    "ReportLinks": reports.ReportLinksJson,
    "Webhook": webhooks.WebhookJson,
    "Webhooks": webhooks.WebhooksJson,
    "Delivery": webhooks.DeliveryJson,
    "Deliveries": webhooks.DeliveriesJson,
    "Queued": receivers.QueuedJson,
    "Destination": destinations.DestinationJson,
    "Destinations": destinations.DestinationsJson,
    "Arrival": state_deliveries.ArrivalJson,
    "DestinationBacklog": state_deliveries.BacklogJson,
    "StateDelivery": state_deliveries.StateDeliveryJson,
    "StateDeliveries": state_deliveries.StateDeliveriesJson,
    "Live": LiveJson,
    "Ready": ReadyJson,
    "InboundBacklog": InboundBacklogJson,
    "RelayLag": RelayLagJson,
}
_COMPONENTS: Mapping[type, str] = {
    **{kind: name for name, kind in RESPONSES.items()},
    # Requests contain these two as well, so both share the component of the request.
    StoredAttribute: "Attribute",
    crosswalks.EntryJson: "CrosswalkEntry",
}
_SCALARS: Mapping[Any, Schema] = {
    str: TEXT,
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: BOOLEAN,
    NoneType: NULL,
    object: {},
}


def response_schemas() -> dict[str, dict[str, Any]]:
    """Returns the schema of each component in `RESPONSES`."""
    schemas = {name: _object(kind) for name, kind in RESPONSES.items()}
    # Errors of bulk enrollment are members named after the fields of the body.
    schemas["Problem"]["additionalProperties"] = True
    return schemas


def schema_of(kind: Any) -> dict[str, Any]:
    """Returns the JSON Schema of a type. Raises KeyError for a type without one."""
    if kind in _COMPONENTS:
        return ref(_COMPONENTS[kind])
    if is_typeddict(kind):
        return _object(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return enumeration([*kind])
    origin = get_origin(kind)
    return dict(_SCALARS[kind]) if origin is None else _GENERICS[origin](*get_args(kind))


def _object(kind: Any) -> dict[str, Any]:
    members = get_type_hints(kind, include_extras=True)
    return {
        "type": "object",
        "description": cleandoc(kind.__doc__),
        "properties": {name: schema_of(member) for name, member in members.items()},
        "required": [name for name in members if name in kind.__required_keys__],
    }


def _annotated(kind: Any, *metadata: Any) -> dict[str, Any]:
    """Adds the keywords in the metadata (`schemas.encoding.json_types`) to the schema."""
    schema = schema_of(kind)
    for keywords in metadata:
        for name, value in keywords._asdict().items():
            if value is not None:
                schema[name] = [*value] if isinstance(value, tuple) else value
    return schema


def _literal(*values: Any) -> dict[str, Any]:
    """Returns the schema of fixed values.

    A boolean stays any boolean: generators write programs that are invalid for a constant one.
    """
    if all(isinstance(value, bool) for value in values):
        return dict(BOOLEAN)
    return {"const": values[0]} if len(values) == 1 else enumeration(values)


def _mapping(key: Any, value: Any) -> dict[str, Any]:
    names = schema_of(key)
    schema = {"type": "object", "additionalProperties": schema_of(value)}
    return schema if names == TEXT else schema | {"propertyNames": names}


def _union(*kinds: Any) -> dict[str, Any]:
    return {"anyOf": [*map(schema_of, kinds)]}


_GENERICS: Mapping[Any, Callable[..., dict[str, Any]]] = {
    Annotated: _annotated,
    Literal: _literal,
    NotRequired: schema_of,
    Union: _union,
    UnionType: _union,
    dict: _mapping,
    list: lambda item: array(schema_of(item)),
}
