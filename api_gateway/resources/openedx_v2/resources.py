"""The resources of version 2 by route name, made from those of version 1."""

import time
from collections.abc import Mapping
from typing import TypeVar

from api_gateway.database import ListReader
from api_gateway.resources.course_details import CourseDetailsResource
from api_gateway.resources.enrollment import EnrollmentResource
from api_gateway.resources.enrollment_detail import EnrollmentDetailResource
from api_gateway.resources.openedx.enrollment_allowed import EnrollmentAllowedResource
from api_gateway.resources.openedx.roles import RolesResource
from api_gateway.resources.openedx.unenroll import UnenrollResource
from api_gateway.resources.openedx_v2.all_enrollments import AllEnrollmentsResource
from api_gateway.resources.openedx_v2.enrollment_counts import EnrollmentCounts
from api_gateway.resources.openedx_v2.learner_enrollments import LearnerEnrollmentsResource
from api_gateway.resources.openedx_v2.retirement import RetirementResource
from api_gateway.resources.openedx_v2.single_reads import (
    OneCourseResource,
    OneEnrollmentResource,
    OwnRolesResource,
)

T = TypeVar("T")
#: The route with the same resource, by the name of each route for an older path.
LEGACY = {
    "v2_enrollment_legacy": "v2_enrollment_detail",
    "v2_course_legacy": "v2_course_details",
    "v2_unenroll_legacy": "v2_unenroll",
    "v2_allowed_legacy": "v2_enrollment_allowed",
}


def make_v2_resources(v1: Mapping[str, object], lists: ListReader) -> dict[str, object]:
    """Returns the resources; `v1` has those of version 1 by route name."""
    made: dict[str, object] = {
        "v2_enrollment": LearnerEnrollmentsResource(
            requests=_get(v1, "enrollment", EnrollmentResource)
        ),
        "v2_enrollments": AllEnrollmentsResource(
            lists=lists, counts=EnrollmentCounts(time.monotonic)
        ),
        "v2_enrollment_detail": OneEnrollmentResource(
            detail=_get(v1, "enrollment_detail", EnrollmentDetailResource)
        ),
        "v2_course_details": OneCourseResource(
            details=_get(v1, "course_details", CourseDetailsResource)
        ),
        "v2_roles": OwnRolesResource(roles=_get(v1, "roles", RolesResource)),
        "v2_unenroll": RetirementResource(unenroll=_get(v1, "unenroll", UnenrollResource)),
        "v2_enrollment_allowed": _get(v1, "enrollment_allowed", EnrollmentAllowedResource),
    }
    return made | {name: made[same] for name, same in LEGACY.items()}


def _get(v1: Mapping[str, object], name: str, kind: type[T]) -> T:
    """Returns a resource. Raises TypeError if it is of another class."""
    found = v1[name]
    if not isinstance(found, kind):
        message = f"the route {name} has no {kind.__name__}"
        raise TypeError(message)
    return found
