"""Steps of the clients that are sessions of `requests` with a token of their own."""

from typing import Any

from steps import BULK, ENROLLMENT, bulk_body, serve, shown


def serve_session(session: Any, **more: Any) -> None:
    """Serves the steps over a session; `more` replaces some of them."""

    def token() -> bool:
        return session.get_jwt_access_token().count(".") == 2

    def post(user: str, course: str, **members: object) -> list[object]:
        body = {"user": user, "course_details": {"course_id": course}, **members}
        answer = session.post(f"{ENROLLMENT}/enrollment", json=body)
        answer.raise_for_status()
        return shown(answer.json())

    def read(user: str, course: str) -> list[object] | None:
        answer = session.get(f"{ENROLLMENT}/enrollment/{user},{course}")
        answer.raise_for_status()
        return shown(answer.json()) if answer.content else None

    def listed(course: str, users: list[str]) -> list[object]:
        params = {"course_id": course, "username": ",".join(users)}
        answer = session.get(f"{ENROLLMENT}/enrollments", params=params)
        answer.raise_for_status()
        return [shown(row) for row in answer.json()["results"]]

    def bulk(course: str, identifiers: list[str], action: str) -> object:
        answer = session.post(BULK, json=bulk_body(course, identifiers, action))
        answer.raise_for_status()
        return answer.json()

    steps = {
        "token": token,
        "enroll": post,
        "read": read,
        "list": listed,
        "change": post,
        "deactivate": lambda user, course: post(user, course, is_active=False),
        "bulk": bulk,
    }
    serve({**steps, **more})
