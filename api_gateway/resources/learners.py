"""``/learners`` and ``/learners/{username}``: people who can be enrolled."""

from http import HTTPStatus

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import Database
from api_gateway.http.problems import bad_request
from api_gateway.http.request_body import read_json
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import (
    MAX_BODY,
    MAX_OBJECTS,
    load_checked,
    read_objects,
    write_saved_count,
)
from api_gateway.resources.common.idempotent_write import run_once
from enrollment.domain.errors import LearnerNotFound
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.idempotency import KeyUse
from schemas.fields import parse_username
from schemas.findings import finding
from schemas.learners import dump_learner, load_learner
from schemas.requests.bulk_objects import BulkReader

LEARNERS = BulkReader(
    "learners",
    load_learner,
    key=lambda learner: learner.username,
    key_field="username",
    max_objects=MAX_OBJECTS,
)


class LearnerResource:
    """One learner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_get(self, req: Request, resp: Response, username: str) -> None:
        """The learner."""
        learner = await self._database.read(learners.find, check_username(username))
        if learner is None:
            raise LearnerNotFound(username)
        write_json(resp, dump_learner(learner))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, username: str) -> None:
        """Create or replace the learner."""
        check_username(username)
        data = await read_json(req, MAX_BODY)
        learner = load_checked(lambda: load_learner(data, username=username), data)
        is_new = await self._database.write(put_learner, learner)
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        write_json(resp, dump_learner(learner), status)

    async def on_delete(self, req: Request, resp: Response, username: str) -> None:
        """Delete a learner who was never enrolled."""
        await self._database.write(learners.delete, check_username(username))
        resp.status = HTTPStatus.NO_CONTENT


class LearnersResource:
    """All learners."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_post(self, req: Request, resp: Response) -> None:
        """Create or replace many, all or none."""
        many, use = await read_objects(req, self._database, LEARNERS)
        is_replay = await self._database.write(_save_once, many, use)
        write_saved_count(resp, len(many), is_replay=is_replay)


def _save_once(session: Session, many: list[Learner], use: KeyUse | None) -> bool:
    return run_once(session, use, lambda: learners.save_all(session, many))


def check_username(username: str) -> str:
    """Return the username. Raises Problem 400 for an invalid one."""
    if parse_username(username) is None:
        found = finding("username", username, "pattern")
        raise bad_request("invalid_username", "The URL contains no valid username.", found)
    return username


def put_learner(session: Session, learner: Learner) -> bool:
    """Save a learner; return whether it is new."""
    is_new = learners.find(session, learner.username) is None
    learners.save(session, learner)
    return is_new
