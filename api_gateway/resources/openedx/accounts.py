"""`/api/user/v1/accounts`, each account by its username, and `/api/user/v1/me`.

See "Accounts" in docs/openedx-compatibility.md.
"""

from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import may_read_about
from api_gateway.database import Database
from api_gateway.http.headers import restore_plus
from api_gateway.http.problems import Problem, unauthenticated
from api_gateway.http.responses import write_json
from enrollment.domain.identity import canonical_text
from enrollment.domain.model import Learner
from enrollment.storage import learners
from schemas.fields import is_storable, parse_email
from schemas.openedx.accounts import MeJson, dump_account


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsResource:
    """Accounts by username or e-mail address."""

    database: Database

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the accounts that the caller may see, by default its own.

        Raises Problem 404 without any.
        """
        caller: Caller = req.context.caller
        usernames, emails = _names(req, "username"), _names(req, "email")
        # An empty parameter matches no account: a client that lost an address must not get its own.
        has_filter = req.has_param("username") or req.has_param("email")
        if not has_filter and caller.username is not None:
            usernames = [caller.username]
        shown = await _find_visible(self.database, caller, usernames, emails)
        if not shown:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.")
        write_json(resp, [dump_account(one) for one in shown])

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountResource:
    """One account by its username."""

    database: Database

    async def on_get(self, req: Request, resp: Response, username: str) -> None:
        """Responds with the account. Raises Problem 404 as `AccountsResource.on_get` does."""
        caller: Caller = req.context.caller
        named = canonical_text(username) if is_storable(username) else ""
        shown = await _find_visible(self.database, caller, [named], ())
        if not shown:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.")
        write_json(resp, dump_account(shown[0]))

    on_head = on_get


class MeResource:
    """The user of the credentials."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Responds with the username. Raises Problem 401 for a server, which has none."""
        caller: Caller = req.context.caller
        if caller.username is None:
            raise unauthenticated()
        body: MeJson = {"username": caller.username}
        write_json(resp, body)

    on_head = on_get


def _names(req: Request, name: str) -> list[str]:
    """Returns the values of a parameter, separated by commas; a name is looked up once."""
    text = req.get_param(name) or ""
    if name == "email":
        # A plus sign that was not percent-encoded arrives as a space, which no address contains.
        parsed = (parse_email(restore_plus(part.strip())) for part in text.split(","))
    else:
        parsed = (canonical_text(part) for part in text.split(",") if is_storable(part))
    return [*dict.fromkeys(part for part in parsed if part)]


async def _find_visible(
    database: Database, caller: Caller, usernames: Collection[str], emails: Collection[str]
) -> list[Learner]:
    """Returns the accounts that the caller may see.

    For a caller who may not read about others no other account is looked up: neither the answer
    nor its time tells who exists.
    """
    if may_read_about(caller, None):
        found = await database.read(_find, usernames, emails)
    elif caller.username is None:
        found = []
    else:
        own = await database.read(_find, [caller.username], ())
        found = [
            one
            for one in own
            if one.username in usernames or (not usernames and one.email in emails)
        ]
    return _with_caller(found, caller, usernames, emails)


def _find(session: Session, usernames: Collection[str], emails: Collection[str]) -> list[Learner]:
    """Returns the learners with one of the usernames; without usernames, of the e-mails."""
    if usernames:
        by_name = learners.find_many(session, usernames)
        return [by_name[name].learner for name in usernames if name in by_name]
    by_email = learners.find_by_email(session, emails)
    return [by_email[email].learner for email in emails if email in by_email]


def _with_caller(
    found: list[Learner], caller: Caller, usernames: Collection[str], emails: Collection[str]
) -> list[Learner]:
    """Adds the subject of a token that names itself, and is not registered yet."""
    own = caller.username
    if own is None or any(learner.username == own for learner in found):
        return found
    is_named = own in usernames or (not usernames and caller.email in emails)
    return [*found, Learner(own, caller.email)] if is_named else found
