"""``/learners`` and ``/learners/{username}``: who can be enrolled."""

from http import HTTPStatus

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway import media
from api_gateway.once import once
from api_gateway.problems import bad_request
from api_gateway.records import Records
from api_gateway.resources.bodies import MAX_BODY, MOST, checked, read_many, write_saved
from enrollment.domain.errors import LearnerNotFound
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.idempotency import KeyUse
from schemas.bulk_objects import BulkReader
from schemas.fields import parse_username
from schemas.learners import dump_learner, load_learner

MANY = BulkReader(
    "learners", load_learner, key=lambda learner: learner.username, key_field="username", most=MOST
)


class LearnerResource:
    """One learner."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def on_get(self, req: Request, resp: Response, username: str) -> None:
        """The learner."""
        learner = await self._records.read(learners.find, known_form(username))
        if learner is None:
            raise LearnerNotFound(username)
        media.write_json(resp, dump_learner(learner))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, username: str) -> None:
        """Make the learner, or put this in the place of the old one."""
        known_form(username)
        data = await media.read_json(req, MAX_BODY)
        learner = checked(lambda: load_learner(data, username=username), data)
        is_new = await self._records.write(put_learner, learner)
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        media.write_json(resp, dump_learner(learner), status)

    async def on_delete(self, req: Request, resp: Response, username: str) -> None:
        """Remove a learner who was never enrolled."""
        await self._records.write(learners.delete, known_form(username))
        resp.status = HTTPStatus.NO_CONTENT


class LearnersResource:
    """All learners."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def on_post(self, req: Request, resp: Response) -> None:
        """Make or replace many, all or none."""
        many, use = await read_many(req, self._records, MANY)
        is_replay = await self._records.write(_save_once, many, use)
        write_saved(resp, len(many), is_replay=is_replay)


def _save_once(session: Session, many: list[Learner], use: KeyUse | None) -> bool:
    return once(session, use, lambda: learners.save_all(session, many))


def known_form(username: str) -> str:
    """The username, if it has the form of one."""
    if parse_username(username) is None:
        found = {"field": "username", "value": username[:100], "rule": "pattern"}
        raise bad_request("invalid_username", "The address names no username.", found)
    return username


def put_learner(session: Session, learner: Learner) -> bool:
    """Save a learner; whether it is a new one."""
    is_new = learners.find(session, learner.username) is None
    learners.save(session, learner)
    return is_new
