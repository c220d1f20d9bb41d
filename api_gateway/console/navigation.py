"""Pages of the console: their permissions, and the entries of the navigation."""

from collections.abc import Mapping
from typing import NamedTuple

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import (
    ADMIN_SCOPE,
    PERMISSIONS,
    READ_OR_STAFF,
    Requirement,
    satisfies,
)

#: An operation of the API, or of the console: the name of its route, and its method.
ApiOperation = tuple[str, str]

CONSOLE_PATH = "/console"

#: Permissions of what the API has no operation for: elsewhere the command line does it.
CONSOLE_PERMISSIONS: Mapping[ApiOperation, Requirement] = {
    ("console_keys", "GET"): ADMIN_SCOPE,
    ("console_keys", "POST"): ADMIN_SCOPE,
    ("console_clients", "GET"): ADMIN_SCOPE,
    ("console_clients", "POST"): ADMIN_SCOPE,
    ("console_batches", "GET"): ADMIN_SCOPE,
    ("console_batches", "POST"): ADMIN_SCOPE,
    #: All learners: over the API a learner sees their own record.
    ("console_learners", "GET"): READ_OR_STAFF,
}


class ConsolePage(NamedTuple):
    """A route of the console."""

    template: str
    resource: object
    #: The operations by method: a caller must be permitted all of them.
    needs: Mapping[str, tuple[ApiOperation, ...]]
    #: Whether it is served without a session.
    is_public: bool = False


def form_page(template: str, resource: object, operation: str) -> ConsolePage:
    """Returns the route of a form, which needs the permission of an operation's POST."""
    return ConsolePage(template, resource, {"POST": ((operation, "POST"),)})


class NavigationEntry(NamedTuple):
    """A link of the navigation, for callers who are permitted the operation."""

    label: str
    path: str
    operation: ApiOperation


NAVIGATION = (
    NavigationEntry("Overview", CONSOLE_PATH, ("submissions", "GET")),
    NavigationEntry("Upload", f"{CONSOLE_PATH}/upload", ("submissions", "POST")),
    NavigationEntry("Submissions", f"{CONSOLE_PATH}/submissions", ("submissions", "GET")),
    NavigationEntry("Learners", f"{CONSOLE_PATH}/learners", ("console_learners", "GET")),
    NavigationEntry("Courses", f"{CONSOLE_PATH}/courses", ("courses", "GET")),
    NavigationEntry("Crosswalks", f"{CONSOLE_PATH}/crosswalks", ("crosswalk", "GET")),
    NavigationEntry("Health", f"{CONSOLE_PATH}/health", ("metrics", "GET")),
    NavigationEntry("Webhooks", f"{CONSOLE_PATH}/webhooks", ("webhooks", "GET")),
    NavigationEntry("Destinations", f"{CONSOLE_PATH}/destinations", ("destinations", "GET")),
    NavigationEntry("Keys", f"{CONSOLE_PATH}/keys", ("console_keys", "GET")),
)


def may_use(caller: Caller, operation: ApiOperation) -> bool:
    """Whether a caller is permitted an operation."""
    return satisfies(caller, requirement_of(operation))


def requirement_of(operation: ApiOperation) -> Requirement:
    """Returns the permission that an operation requires."""
    return CONSOLE_PERMISSIONS.get(operation) or PERMISSIONS[operation]


def entries_for(caller: Caller) -> list[NavigationEntry]:
    """Returns the entries that a caller may open."""
    return [entry for entry in NAVIGATION if may_use(caller, entry.operation)]
