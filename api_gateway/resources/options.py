"""Options of submissions, and what their listing is narrowed to, out of the query."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from falcon.asgi import Request

from api_gateway.problems import Problem, bad_request
from api_gateway.resources.bodies import place_of
from enrollment.domain.codes import Lane, OnError, State
from enrollment.domain.model import EPOCH
from enrollment.domain.submissions import Options
from enrollment.storage.submission_views import Place
from schemas.fields import MAX_MODE, is_course_key, is_source, is_storable
from schemas.foreign.detect import AUTO, NAMES

#: Options that a file may come with: in the query, or in the form that it is a part of.
_KNOWN = frozenset({"format", "default_mode", "on_error", "lane", "source", "course_id", "dry_run"})
_FORMATS = frozenset(NAMES)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Chosen(NamedTuple):
    """What a caller says about a file beside it."""

    options: Options
    lane: Lane | None
    format: str


def read_options(given: Mapping[str, Any]) -> Chosen:
    """How a file is to be worked. Raises Problem 400 for what is not known or not done here."""
    for name, value in given.items():
        if name not in _KNOWN:
            raise bad_option(name, value, f"one of {', '.join(sorted(_KNOWN))}")
        if not isinstance(value, str):
            raise bad_option(name, value, "given once")
    _check(given, "format", _FORMATS)
    _check(given, "dry_run", frozenset(_FLAGS))
    _check(given, "on_error", frozenset(OnError))
    _check(given, "lane", frozenset(Lane))
    for name, (may_be, expected) in _TEXTS.items():
        if name in given and not may_be(given[name]):
            raise bad_option(name, given[name], expected)
    options = Options(
        default_mode=given.get("default_mode"),
        on_error=given.get("on_error", OnError.CONTINUE.value),
        source=given.get("source"),
        dry_run=_FLAGS[given.get("dry_run", "false")],
        course_id=given.get("course_id"),
    )
    lane = given.get("lane")
    return Chosen(options, None if lane is None else Lane(lane), given.get("format", AUTO))


def _may_be_mode(text: str) -> bool:
    return 0 < len(text) <= MAX_MODE and is_storable(text)


#: Options that are texts: what they may be, and that in words.
_TEXTS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "default_mode": (_may_be_mode, f"1 to {MAX_MODE} characters"),
    "source": (is_source, "1 to 100 letters, digits, dots, dashes or underscores"),
    "course_id": (is_course_key, "course-v1:org+course+run or org/course/run"),
}


def _check(given: Mapping[str, Any], name: str, known: frozenset[str]) -> None:
    if name in given and given[name] not in known:
        raise bad_option(name, given[name], f"one of {', '.join(sorted(known))}")


def bad_option(name: str, value: object, expected: str) -> Problem:
    """400, naming the option and what would do."""
    found = {"field": name, "value": str(value)[:100], "rule": expected}
    return bad_request("option_invalid", f"The option {name} must be {expected}.", found)


def read_states(req: Request) -> frozenset[State]:
    """The states that a listing is narrowed to; none means all. Raises Problem 400."""
    given = req.get_param_as_list("state") or []
    for text in given:
        if text not in set(State):
            raise bad_option("state", text, f"one of {', '.join(State)}")
    return frozenset(map(State, given))


def read_place(req: Request) -> Place | None:
    """Where the page begins. Raises Problem 400 for a cursor that is none of ours."""
    text = place_of(req)
    if text is None:
        return None
    moment, _, id_ = text.partition(" ")
    try:
        return Place(EPOCH + timedelta(microseconds=int(moment)), UUID(id_))
    except (ValueError, OverflowError) as error:
        raise bad_option("cursor", "", "one that an answer gave") from error
