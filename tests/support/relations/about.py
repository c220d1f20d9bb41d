"""What a request of the table is about, and the request itself."""

from typing import Any, NamedTuple

from api_gateway.routes import ROUTES
from tests.support.gateway import fresh
from tests.support.relations.cast import Cast
from tests.support.relations.model import (
    ABSENT,
    NO_COURSE,
    NOT_ENROLLED,
    OTHER,
    OWN,
    STAFFED,
    THERE,
)


class Asked(NamedTuple):
    """A request: its path, and the arguments of `Gateway.call`."""

    path: str
    more: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)


class About(NamedTuple):
    """What a request is about: the route, the relation to the thing, and the caller."""

    cast: Cast
    route: str
    relation: str
    caller: str

    @property
    def learner(self) -> tuple[str, str]:
        """The username and the course of an enrollment in this relation."""
        cast = self.cast
        return {
            OWN: (cast.usernames.get(self.caller, ""), cast.own),
            STAFFED: (cast.taught_learner, cast.taught),
            OTHER: (cast.other_learner, cast.elsewhere),
            ABSENT: (fresh("missing"), cast.elsewhere),
            NOT_ENROLLED: (cast.idle_learner, cast.elsewhere),
            NO_COURSE: (cast.other_learner, f"course-v1:No+{fresh('N')}+1"),
        }[self.relation]

    @property
    def is_there(self) -> bool:
        """Whether the thing must exist."""
        return self.relation == THERE

    def path(self, query: str = "", **names: str) -> str:
        """Returns the path of the route, with a query."""
        return path_of(self.route, **names) + (f"?{query}" if query else "")


def path_of(route: str, **names: str) -> str:
    """Returns the path of a route."""
    return ROUTES[route].replace(":path", "").format(**names)
