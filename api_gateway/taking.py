"""Taking a file in: stored by threads of its own, under one key at a time."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from api_gateway.callers import Caller
from api_gateway.problems import Problem, too_large
from api_gateway.uploads import Published, Upload, Uploads
from enrollment.domain.errors import KeyInFlight
from schemas.source import FileTooLarge, UnreadableFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """The way in for files, whatever route they come by."""

    uploads: Uploads
    #: Files are stored here, so that they never keep singles waiting for a thread.
    pool: ThreadPoolExecutor
    #: (caller, key) of files that are coming in.
    in_flight: set[tuple[str, str]] = field(default_factory=set)

    @contextmanager
    def under(self, caller: Caller, key: str | None) -> Iterator[None]:
        """Nobody else comes in under the same key meanwhile. Raises KeyInFlight."""
        if key is None:
            yield
            return
        used = (caller.name, key)
        if used in self.in_flight:
            raise KeyInFlight(key)
        self.in_flight.add(used)
        try:
            yield
        finally:
            self.in_flight.discard(used)

    async def store(self, upload: Upload) -> Published:
        """Keep a file durably, whole. Raises Problem for what is wrong with it."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.pool, self.uploads.store, upload)
        except FileTooLarge as error:
            raise too_large(str(error)) from error
        except UnreadableFile as error:
            malformed = error.is_malformed
            status = HTTPStatus.BAD_REQUEST if malformed else HTTPStatus.UNPROCESSABLE_ENTITY
            raise Problem(status, error.code, error.message, errors=[error.finding()]) from error
