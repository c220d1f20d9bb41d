"""Runs in a client's own environment: takes steps from standard input, one JSON line each."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

URL = os.environ["SERVICE_URL"]
CLIENT_ID, SECRET = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
ENROLLMENT = f"{URL}/api/enrollment/v1"
BULK = f"{URL}/api/bulk_enroll/v1/bulk_enroll"


def serve(steps: Mapping[str, Callable[..., Any]]) -> None:
    """Answers each step with what the client returned, as one JSON line."""
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(steps[asked.pop("step")](**asked)), flush=True)


def bulk_body(course: str, identifiers: list[str], action: str) -> dict[str, object]:
    """The body of a bulk enrollment, as openedx-rest-api-client sends it."""
    return {
        "auto_enroll": True,
        "email_students": False,
        "action": action,
        "courses": course,
        "identifiers": ",".join(identifiers),
    }


def shown(enrollment: Mapping[str, Any]) -> list[object]:
    """What a step returns of an enrollment object."""
    return [enrollment["user"], enrollment["mode"], enrollment["is_active"]]


def org_of(course: str) -> str:
    """The organisation of a course key."""
    return course.removeprefix("course-v1:").split("+")[0]
