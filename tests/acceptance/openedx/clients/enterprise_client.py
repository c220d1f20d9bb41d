"""Steps of edx-enterprise: its client of the Enrollment API, with the settings that it imports."""

import django
from django.conf import settings
from sessions import serve_session
from steps import CLIENT_ID, ENROLLMENT, SECRET, URL, shown

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    LMS_ROOT_URL=URL,
    LMS_INTERNAL_ROOT_URL=URL,
    OAUTH_ID_TOKEN_EXPIRATION=3600,
    ENTERPRISE_ENROLLMENT_API_URL=ENROLLMENT,
    ENTERPRISE_BACKEND_SERVICE_EDX_OAUTH2_PROVIDER_URL=f"{URL}/oauth2",
    ENTERPRISE_BACKEND_SERVICE_EDX_OAUTH2_KEY=CLIENT_ID,
    ENTERPRISE_BACKEND_SERVICE_EDX_OAUTH2_SECRET=SECRET,
)
django.setup()

from enterprise.api_client.lms import EnrollmentApiClient  # noqa: E402 (it needs the settings)

client = EnrollmentApiClient()


def enroll(user: str, course: str, mode: str) -> list[object]:
    assert client.get_course_enrollment(user, course) is None
    assert client.has_course_mode(course, mode)
    return shown(client.enroll_user_in_course(user, course, mode))


def read(user: str, course: str) -> list[object]:
    assert client.is_enrolled(user, course)
    listed = client.get_enrolled_courses(user)
    assert [one["course_details"]["course_id"] for one in listed] == [course]
    return shown(client.get_course_enrollment(user, course))


def change(user: str, course: str, mode: str) -> list[object]:
    return shown(client.update_course_enrollment_mode_for_user(user, course, mode))


def deactivate(user: str, course: str) -> list[object]:
    assert client.unenroll_user_from_course(user, course)
    assert not client.unenroll_user_from_course(user, course)
    return shown(client.get_course_enrollment(user, course))


serve_session(client.client, enroll=enroll, read=read, change=change, deactivate=deactivate)
