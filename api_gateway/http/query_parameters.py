"""Refuses query parameters that an operation does not declare, or declares as one value."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import NamedTuple

import falcon.asgi

from api_gateway.http.problems import Problem, bad_request
from schemas.findings import Rule, finding, shorten

#: Methods that have the parameters of another method.
_ALIASES = {"HEAD": "GET"}
#: Names that other operations use for a parameter, where they are not similar to it.
_OTHER_NAMES = {"user": "username", "course": "course_id", "offset": "cursor", "page": "cursor"}
#: Names that are less similar than this are not proposed.
_MIN_SIMILARITY = 0.5
_MAX_COMPARED = 100


class DeclaredParameters(NamedTuple):
    """The query parameters of an operation, and the problem code for any other one."""

    names: frozenset[str]
    code: str
    #: Those that have several values, and so may be repeated.
    lists: frozenset[str] = frozenset()


class QueryParameters:
    """The check of query parameters; `declared` is by URI template and method.

    Operations without an entry, which are those of Open edX, accept any parameter.
    """

    def __init__(self, declared: Mapping[tuple[str, str], DeclaredParameters]) -> None:
        self._declared = declared

    def check(self, req: falcon.asgi.Request) -> None:
        """Raises Problem 400 for the first parameter that is not declared, or repeated.

        Of two values one would be ignored, and the caller may have meant that one.
        """
        method = _ALIASES.get(req.method, req.method)
        declared = self._declared.get((req.uri_template or "", method))
        if declared is None:
            return
        for name, value in req.params.items():
            if name not in declared.names:
                raise unknown_parameter(name, value, declared)
            if not isinstance(value, str) and name not in declared.lists:
                found = finding(name, value, Rule.DUPLICATE, expected="given once")
                raise bad_request(declared.code, f"The parameter {name} must be given once.", found)


def unknown_parameter(name: str, value: object, declared: DeclaredParameters) -> Problem:
    """Returns a Problem 400 that proposes the nearest name, and lists all."""
    near = nearest_name(name, declared.names)
    names = ", ".join(sorted(declared.names))
    detail = near and f"did you mean {near}?"
    found = finding(shorten(name), value, Rule.UNKNOWN, detail, expected=near or names or None)
    question = f" did you mean {near}?" if near else ""
    known = f"The parameters here are {names}." if names else "There are no parameters here."
    return bad_request(
        declared.code, f"Unknown parameter {shorten(name)}:{question} {known}", found
    )


def nearest_name(name: str, known: Collection[str]) -> str | None:
    """Returns the known name that is most like another one; None if none is."""
    other = _OTHER_NAMES.get(name)
    if other in known:
        return other
    matches = get_close_matches(name[:_MAX_COMPARED].casefold(), known, 1, _MIN_SIMILARITY)
    return matches[0] if matches else None
