"""The key that all gateways sign with where none is configured: the first one to start makes it.

It is a file in the data folder. The database holds its id, never the key, so that a gateway on
another host, whose folder is its own, makes no second key: the one would refuse tokens of the
other.

A new key is a candidate first, in a file beside. It becomes the key once the database has its id;
wherever a process ends before that, the next one goes on with the same candidate.
"""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog

from api_gateway.auth.signing_keys import (
    SIGNING_KEY_FILE,
    SigningKey,
    SigningKeys,
    format_key_line,
    new_signing_key,
    parse_signing_keys,
)
from api_gateway.database import Database, retry_on_conflict
from enrollment.domain.errors import EnrollmentError
from enrollment.runtime.private_files import (
    OpenToOthers,
    create_private_file,
    make_private_folder,
)
from enrollment.runtime.settings import Settings
from enrollment.storage import migrate
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.outbox import installation

#: The end of the name of a candidate.
_CANDIDATE = ".candidate"
_REMEDY = (
    "copy signing.key from the data folder of the first gateway into the one of this host, or set "
    "one ENROLL_SIGNING_KEY for all gateways; if the key is lost, `enroll tokens rotate` makes "
    "another"
)
ELSEWHERE = f"another host has the signing key, this one has none: {_REMEDY}"
DIFFERENT = f"signing.key of this host is not the key of the first gateway: {_REMEDY}"
UNWRITABLE = (
    "there is no signing key, and none can be made in the data folder: give the gateway a folder "
    "that it can write (ENROLL_DATA_DIR), or set one ENROLL_SIGNING_KEY for all gateways"
)
UNREADABLE = "signing.key in the data folder cannot be read as a file of keys: correct it"
NOT_RECORDED = (
    "the id of the signing key cannot be written to the database: `enroll db upgrade` grants the "
    "gateway's role the right to it"
)

log = structlog.get_logger(__name__)


class KeyDefect(NamedTuple):
    """A defect of the key: a finding with a remedy, for everybody, and its cause, for the log."""

    finding: str
    cause: str = ""


NO_DEFECT = KeyDefect("")


def is_key_shared(settings: Settings) -> bool:
    """Whether the key is the one that the gateways make: tokens are on, and no key is configured.

    Only then the database has its id.
    """
    is_configured = settings.signing_key is not None or settings.signing_key_file is not None
    return settings.own_tokens and not is_configured


def ensure_shared_key(settings: Settings, sessions: Sessions) -> KeyDefect:
    """Makes the key, unless this host or another one has it, and records its id.

    Returns `NO_DEFECT` if that was done, or a key is configured. Raises DatabaseUnavailable.
    """
    if not is_key_shared(settings):
        return NO_DEFECT
    path = settings.data_dir / SIGNING_KEY_FILE
    with sessions.read() as session:
        if defect := migrate.defect(session):
            return KeyDefect(defect)
        kid = installation.find_signing_kid(session)
    try:
        if not path.exists() and (kid is None or _candidate(path).exists()):
            kid = _make(path, sessions)
        elif kid is None:
            kid = _claim(sessions, parse_signing_keys(path.read_text())[0])
    except (OSError, OpenToOthers) as error:
        return KeyDefect(UNWRITABLE, str(error))
    except ValueError as error:
        return KeyDefect(UNREADABLE, str(error))
    except EnrollmentError as error:
        return KeyDefect(NOT_RECORDED, str(error))
    return KeyDefect(key_finding(settings, kid))


def key_finding(settings: Settings, kid: str | None) -> str:
    """Returns what is wrong with the key of this host, if the database has this id.

    Empty if nothing is, also before the key is made.
    """
    if kid is None or not is_key_shared(settings):
        return ""
    try:
        known = parse_signing_keys((settings.data_dir / SIGNING_KEY_FILE).read_text())
    except FileNotFoundError:
        return ELSEWHERE
    except (OSError, ValueError):
        return UNREADABLE
    return "" if kid in {key.kid for key in known} else DIFFERENT


def _candidate(path: Path) -> Path:
    return path.with_name(path.name + _CANDIDATE)


def _make(path: Path, sessions: Sessions) -> str | None:
    """Makes the candidate the key if the database has its id; returns the id that it has.

    Links never replace a file: of several processes at once all end with the same key.
    """
    make_private_folder(path.parent)
    candidate = _candidate(path)
    create_private_file(candidate, format_key_line(new_signing_key()))
    try:
        key = parse_signing_keys(candidate.read_text())[0]
    except FileNotFoundError:  # another process has finished meanwhile
        with sessions.read() as session:
            return installation.find_signing_kid(session)
    kid = _claim(sessions, key)
    if kid == key.kid:
        with suppress(FileExistsError, FileNotFoundError):
            path.hardlink_to(candidate)
            log.info("signing_key.made", kid=kid)
    candidate.unlink(missing_ok=True)
    return kid


def _claim(sessions: Sessions, key: SigningKey) -> str | None:
    def claim() -> str | None:
        with sessions.begin() as session:
            return installation.claim_signing_kid(session, key.kid)

    return retry_on_conflict(claim)


class SharedSigningKey:
    """The signing key of a gateway, which is made when it is first needed. Per event loop."""

    def __init__(self, settings: Settings, database: Database, keys: SigningKeys | None) -> None:
        """`keys` is None where this service takes no tokens of its own."""
        self._settings = settings
        self._database = database
        self._keys = keys
        self._finding = ""

    async def ensure(self) -> str:
        """Makes the key unless there is one; logs what is wrong when that changes, and returns it.

        Raises DatabaseUnavailable, Overloaded.
        """
        if not is_key_shared(self._settings):
            return ""
        work = partial(ensure_shared_key, self._settings, self._database.sessions)
        finding, cause = await self._database.run(work)
        if finding and finding != self._finding:
            log.warning("signing_key.not_shared", because=finding, cause=cause)
        self._finding = finding
        return finding

    async def find_defect(self) -> str:
        """Makes the key unless there is one; returns what is wrong, as far as it is known."""
        try:
            return await self.ensure()
        except EnrollmentError as error:
            log.warning("signing_key.unknown", because=str(error))
            return self._finding

    async def current(self) -> SigningKey | None:
        """Returns the key that signs; None without one, `missing` says why.

        Raises DatabaseUnavailable, Overloaded.
        """
        if self._keys is None:
            return None
        key = self._keys.current()
        if key is None:
            await self.ensure()
            key = self._keys.current()
        return key

    @property
    def missing(self) -> str:
        """Why there is no key, in a sentence."""
        if self._keys is None:
            return "Tokens of this service are switched off (ENROLL_OWN_TOKENS=false)."
        reason = self._finding or "the file that ENROLL_SIGNING_KEY_FILE names is gone"
        return f"This gateway has no key to sign tokens with: {reason}."
