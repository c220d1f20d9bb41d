"""Steps of edx-api-client: it takes a token, and sends it as a Bearer token."""

import requests
from edx_api.client import EdxApi
from steps import BULK, CLIENT_ID, SECRET, URL, bulk_body, org_of, serve

api = EdxApi({"access_token": "none yet"}, f"{URL}/")


def token() -> bool:
    asked = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "token_type": "bearer",
    }
    answer = requests.post(f"{URL}/oauth2/access_token", data=asked, timeout=30)
    answer.raise_for_status()
    api.credentials["access_token"] = answer.json()["access_token"]
    return True


def shown(enrollment) -> list[object]:
    return [enrollment.user, enrollment.mode, enrollment.is_active]


def enroll(user: str, course: str, mode: str) -> list[object]:
    return shown(api.enrollments.create_student_enrollment(course, mode, user))


def read(user: str, course: str) -> list[object]:
    """Its own way to read: the list of the client's own user, who is enrolled for that."""
    enroll("", course, "audit")
    mine = api.enrollments.get_student_enrollments()
    assert mine.is_enrolled_in(course)
    assert mine.get_enrollment_for_course(course).course_details.course_id == course
    return enroll(user, course, "audit")


def listed(course: str, users: list[str]) -> list[object]:
    return [shown(one) for one in api.enrollments.get_enrollments(course, users)]


def change(user: str, course: str, mode: str) -> list[object]:
    assert mode == "verified"
    return shown(api.enrollments.create_verified_student_enrollment(course, user))


def deactivate(user: str, course: str) -> list[object]:
    return shown(api.enrollments.deactivate_enrollment(course, user))


def bulk(course: str, identifiers: list[str], action: str) -> object:
    answer = api.get_requester().post(BULK, json=bulk_body(course, identifiers, action))
    answer.raise_for_status()
    return answer.json()


def courses(course: str) -> bool:
    found = api.course_list.get_courses(org=org_of(course))
    return course in [one.course_id for one in found]


serve(
    {
        "token": token,
        "enroll": enroll,
        "read": read,
        "list": listed,
        "change": change,
        "deactivate": deactivate,
        "bulk": bulk,
        "courses": courses,
    }
)
