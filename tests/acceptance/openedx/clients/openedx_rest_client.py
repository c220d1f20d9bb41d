"""Steps of openedx-rest-api-client, which sends `application/JSON`; Bearer tokens by default."""

from openedx_rest_api_client.client import OpenedxRESTAPIClient
from sessions import serve_session
from steps import CLIENT_ID, SECRET, URL, org_of

client = OpenedxRESTAPIClient(URL, CLIENT_ID, SECRET)


def bulk(course: str, identifiers: list[str], action: str) -> object:
    return client.change_enrollment(identifiers, [course], action, email_students=False)


def courses(course: str) -> bool:
    return course in [one["course_id"] for one in client.list_all_courses(org=org_of(course))]


serve_session(client.session, bulk=bulk, courses=courses)
