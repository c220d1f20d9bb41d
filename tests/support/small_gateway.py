"""A gateway with the course routes only, on a clock that only sleeping moves."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import falcon.asgi
from falcon import testing

from api_gateway.course_details_cache import CourseDetailsCache
from api_gateway.database import Database, ListReader
from api_gateway.http.problems import Problem
from api_gateway.resources.course_details import CourseDetailsResource
from api_gateway.resources.courses import CourseResource, CoursesResource
from enrollment.domain.errors import EnrollmentError
from enrollment.domain.model import Course, Mode
from enrollment.runtime.cache import Cache, connect
from enrollment.storage.engine.sessions import Sessions

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
KEY = "course-v1:Uni+ALG+2026"
#: Returns a course with one expired mode.
ALGEBRA = Course(
    course_id=KEY,
    name="Algebra",
    modes=(Mode(slug="audit"), Mode(slug="verified", expires_at=NOON - timedelta(days=1))),
)
#: Returns the path of its details.
PATH = f"/course/{KEY}"


class Clock:
    """Returns a time some seconds after noon."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class SmallGateway:
    """One process of the gateway."""

    def __init__(self, sessions: Sessions, redis_url: str, clock: Clock) -> None:
        self.clock = clock
        self.cache = Cache(connect(redis_url), clock=clock)
        self.records = Database(sessions, threads=2)
        self.lists = ListReader(sessions, threads=1)
        self.details = CourseDetailsCache(
            self.records, self.cache, now=clock.now, clock=clock, sleep=clock.sleep
        )
        app = app_with_errors()
        app.add_route("/course/{course_id:path}", CourseDetailsResource(self.details))
        app.add_route("/courses/{course_id:path}", CourseResource(self.records, self.details))
        app.add_route("/courses", CoursesResource(self.records, self.lists, self.details))
        self.http = testing.TestClient(app)

    def put(self, **members: object) -> None:
        """Saves the course."""
        response = self.http.simulate_put(f"/courses/{KEY}", json=members)
        assert response.status_code in {200, 201}

    def course_name(self) -> str:
        """Returns its name in the course details."""
        name: str = self.http.simulate_get(PATH).json["course_name"]
        return name

    def close(self) -> None:
        self.details.close()
        for database in (self.records, self.lists):
            database._pool.shutdown(wait=True)


def app_with_errors() -> Any:
    """Returns an app without routes that answers errors with their status and body."""
    app: Any = falcon.asgi.App()
    app.add_error_handler(Problem, _answer_problem)
    app.add_error_handler(EnrollmentError, _answer_error)
    return app


async def _answer_problem(req: Any, resp: Any, problem: Problem, params: Any) -> None:
    resp.status = problem.status
    resp.media = problem.body()


async def _answer_error(req: Any, resp: Any, error: EnrollmentError, params: Any) -> None:
    is_missing = type(error).__name__.endswith("NotFound")
    resp.status = HTTPStatus.NOT_FOUND if is_missing else HTTPStatus.CONFLICT
