"""`/learners` and `/learners/{username}`: reads, saves and deletes learners."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.permissions import may_see_learner
from api_gateway.database import Database
from api_gateway.http.problems import bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import (
    MAX_OBJECTS,
    read_object,
    read_objects,
    write_saved_count,
)
from api_gateway.resources.common.idempotent_write import run_once
from enrollment.domain.errors import LearnerNotFound
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.people import opt_ins
from schemas.fields import parse_username, username_rule
from schemas.findings import finding
from schemas.learners import dump_learner, load_learner
from schemas.requests.bulk_objects import BulkReader

#: Parses a body with a list of learners.
LEARNER_READER = BulkReader(
    "learners",
    load_learner,
    key=lambda learner: learner.username,
    key_field="username",
    max_objects=MAX_OBJECTS,
)


class SavedLearner(NamedTuple):
    """The result of a PUT."""

    #: Opt-ins to e-mail, by organization.
    opt_ins: Mapping[str, bool]
    is_new: bool


class LearnerResource:
    """One learner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_get(self, req: Request, resp: Response, username: str) -> None:
        """Responds with the learner, to the learner and to those who may read about all."""
        username = check_username(username)
        may_see = may_see_learner(req.context.caller, username)
        shown = await self._database.read(find_shown, username) if may_see else None
        if shown is None:
            raise LearnerNotFound(username)
        write_json(resp, dump_learner(*shown))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, username: str) -> None:
        """Creates or replaces the learner."""
        username = check_username(username)
        load = partial(load_learner, username=username)
        learner = await read_object(req, self._database, load)
        saved = await self._database.write(put_learner, learner)
        status = HTTPStatus.CREATED if saved.is_new else HTTPStatus.OK
        write_json(resp, dump_learner(learner, saved.opt_ins), status)

    async def on_delete(self, req: Request, resp: Response, username: str) -> None:
        """Deletes a learner who was never enrolled."""
        await self._database.write(learners.delete, check_username(username))
        resp.status = HTTPStatus.NO_CONTENT


class LearnersResource:
    """All learners."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_post(self, req: Request, resp: Response) -> None:
        """Creates or replaces a list of learners, all or none."""
        new, key_use = await read_objects(req, self._database, LEARNER_READER)
        is_replay = await self._database.write(_save_once, new, key_use)
        write_saved_count(resp, len(new), is_replay=is_replay)


def _save_once(session: Session, new: list[Learner], key_use: KeyUse | None) -> bool:
    return run_once(session, key_use, lambda: learners.save_all(session, new))


def check_username(username: str) -> str:
    """Returns the username in its canonical form. Raises Problem 400 if it is not valid."""
    canonical = parse_username(username)
    if canonical is None:
        found = finding("username", username, username_rule(username))
        raise bad_request("invalid_username", "The URL contains no valid username.", found)
    return canonical


def find_shown(session: Session, username: str) -> tuple[Learner, Mapping[str, bool]] | None:
    """Returns a learner and what they stated about e-mail; None without the learner."""
    learner = learners.find(session, username)
    return None if learner is None else (learner, opt_ins.find(session, username))


def put_learner(session: Session, learner: Learner) -> SavedLearner:
    """Saves a learner."""
    is_new = learners.find(session, learner.username) is None
    learners.save(session, learner)
    return SavedLearner(opt_ins.find(session, learner.username), is_new)
