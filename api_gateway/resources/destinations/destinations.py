"""`/destinations`: systems that must end in the same state."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import Database
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import load_checked, read_object
from api_gateway.resources.common.secret_store import SecretStore
from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.records import Destination
from enrollment.runtime.ids import uuid7
from enrollment.runtime.outbound.addresses import OutboundPolicy, parse_target
from enrollment.storage.destinations import registry, removal
from schemas.destinations.members import (
    DESTINATION_NAME,
    DestinationMembers,
    DestinationsJson,
    dump_destination,
    load_destination,
)
from schemas.findings import Rule, finding

_NAME = re.compile(DESTINATION_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationParts:
    """The parts of the gateway that resources of destinations share."""

    database: Database
    now: Callable[[], datetime]
    policy: OutboundPolicy
    secrets: SecretStore

    async def read_members(self, req: Request, name: str) -> DestinationMembers:
        """Reads the body of a destination. Raises Problem 400, 408, 413, 415."""
        return await read_object(req, self.database, self._loader(name))

    def load_members(self, data: object, name: str) -> DestinationMembers:
        """Parses a destination. Raises Problem 400."""
        return load_checked(self._loader(name), data)

    def _loader(self, name: str) -> Callable[[object], DestinationMembers]:
        """Returns what parses a destination. Raises Problem 400 for its name."""
        if _NAME.fullmatch(name) is None:
            message = "A name has up to 40 of a-z, 0-9, _ and -, and begins with a letter or digit."
            raise bad_request("invalid_body", message, finding("name", name, Rule.PATTERN))
        check_url = partial(parse_target, policy=self.policy)
        return partial(load_destination, name=name, check_url=check_url)


@dataclass(frozen=True, slots=True)
class DestinationsResource:
    """All destinations."""

    parts: DestinationParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the destinations."""
        found = await self.parts.database.read(registry.find_all)
        body: DestinationsJson = {"destinations": list(map(dump_destination, found))}
        write_json(resp, body)

    on_head = on_get


@dataclass(frozen=True, slots=True)
class DestinationResource:
    """One destination."""

    parts: DestinationParts

    async def on_get(self, req: Request, resp: Response, destination: str) -> None:
        """Responds with the destination, without its credentials."""
        write_json(resp, dump_destination(await self.find(destination)))

    on_head = on_get

    async def find(self, destination: str) -> StoredDestination:
        """Returns the destination. Raises Problem 404."""
        return existing_destination(await self.parts.database.read(registry.find, destination))

    async def on_put(self, req: Request, resp: Response, destination: str) -> None:
        """Adds or replaces the destination; without `auth` the stored credentials stay.

        They are not kept for another host.
        """
        stored, is_new = await self.put(await self.parts.read_members(req, destination))
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        write_json(resp, dump_destination(stored), status)

    async def put(
        self, members: DestinationMembers, *, is_new: bool = False
    ) -> tuple[StoredDestination, bool]:
        """Adds or replaces the destination; returns it, and whether it was added.

        With `is_new` none is replaced. Raises Problem 400, 409, 503.
        """
        auth = None if members.auth is None else await self.parts.secrets.encrypt(members.auth)
        now = self.parts.now()
        put = _add if is_new else registry.put
        stored, was_added = await self.parts.database.write(
            put, members.destination, auth, destination_id=uuid7(now), now=now
        )
        if stored is None:
            message = (
                "A destination that is new, or has another host, needs `auth`: client_id with "
                "client_secret, or api_key."
            )
            raise bad_request("invalid_body", message, finding("auth", None, Rule.REQUIRED))
        return stored, was_added

    async def on_delete(self, req: Request, resp: Response, destination: str) -> None:
        """Deletes the destination with its deliveries."""
        now = self.parts.now()
        if not await self.parts.database.write(removal.remove, destination, now=now):
            raise destination_not_found()
        resp.status = HTTPStatus.NO_CONTENT


@dataclass(frozen=True, slots=True)
class PauseResource:
    """Pauses or resumes a destination."""

    parts: DestinationParts
    is_paused: bool

    async def on_post(self, req: Request, resp: Response, destination: str) -> None:
        """Lets nothing be sent, or lets everything be sent that waits."""
        write_json(resp, dump_destination(await self.change(destination)))

    async def change(self, destination: str) -> StoredDestination:
        """Pauses or resumes the destination. Raises Problem 404."""
        changed = await self.parts.database.write(
            registry.set_paused, destination, is_paused=self.is_paused
        )
        return existing_destination(changed)


def _add(
    session: Session,
    destination: Destination,
    auth: str | None,
    *,
    destination_id: UUID,
    now: datetime,
) -> tuple[StoredDestination | None, bool]:
    """Adds a destination. Raises Problem 409 if there is one with its name."""
    if registry.find(session, destination.name) is not None:
        message = f"There is a destination {destination.name} already: choose another name."
        raise Problem(HTTPStatus.CONFLICT, "already_exists", message)
    return registry.put(session, destination, auth, destination_id=destination_id, now=now)


def existing_destination(stored: StoredDestination | None) -> StoredDestination:
    """Returns a destination. Raises Problem 404 if there is none."""
    if stored is None:
        raise destination_not_found()
    return stored


def destination_not_found() -> Problem:
    """Returns problem 404."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", "There is no such destination or delivery.")
