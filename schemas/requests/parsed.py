"""The value of a parsed request, and the error for an invalid one."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from enrollment.domain.model import Attribute
from schemas.findings import Finding

MAX_COHORT = 255
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_TEXT = 255


class ParsedRequest(NamedTuple):
    """One request as sent: validated, with no defaults but that of `is_active`."""

    username: str | None
    #: In lower case.
    email: str | None
    course_id: str
    is_active: bool = True
    mode: str | None = None
    attributes: tuple[Attribute, ...] | None = None
    cohort: str | None = None
    force: bool = False
    #: In UTC.
    requested_at: datetime | None = None
    #: Whether the learner wants e-mail from the course's organization. None: not stated.
    email_opt_in: bool | None = None


def without_details(request: ParsedRequest) -> tuple[ParsedRequest, tuple[str, ...]]:
    """Returns the request without attributes and cohort, and the names of the members dropped."""
    given = {"enrollment_attributes": request.attributes, "cohort": request.cohort}
    names = tuple(name for name, value in given.items() if value is not None)
    return (request._replace(attributes=None, cohort=None) if names else request), names


class ReceivedRequest(NamedTuple):
    """A single request, and the names of its members that are not read."""

    request: ParsedRequest
    ignored: tuple[str, ...] = ()

    def ignoring(self, *names: str) -> "ReceivedRequest":
        """Returns it with more names of members that are not read."""
        return self._replace(ignored=tuple(dict.fromkeys((*self.ignored, *names))))


class InvalidRequest(Exception):
    """A request is malformed; `findings` has the place and the rule of each error."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{len(findings)} finding(s)")
        self.findings = tuple(findings)
