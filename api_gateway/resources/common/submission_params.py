"""Query parameters of submissions: the options of an upload and the filters of the list."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from falcon.asgi import Request

from api_gateway.http.headers import restore_plus
from api_gateway.http.pagination import read_cursor
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.query_parameters import DeclaredParameters, unknown_parameter
from enrollment.domain.codes import Lane, OnError, State
from enrollment.domain.model import EPOCH
from enrollment.domain.submissions import SubmissionOptions, split_names
from enrollment.storage.views.submission_views import SubmissionPageKey
from schemas.fields import MAX_MODE, is_course_key, is_source, is_storable
from schemas.files.formats.detect import AUTO, FORMAT_NAMES
from schemas.findings import Rule, finding

#: Names of the options, which are query parameters or fields of the form with the file.
_OPTION_NAMES = frozenset(
    {"format", "default_mode", "on_error", "lane", "source", "course_id", "dry_run", "ignore"}
)
_OPTIONS = DeclaredParameters(_OPTION_NAMES, "option_invalid")
#: Maximum length of the option `ignore`.
MAX_IGNORE_CHARS = 2_000
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class SubmissionParams(NamedTuple):
    """The parsed options of an upload."""

    options: SubmissionOptions
    lane: Lane | None
    format: str


def check_names(params: Mapping[str, Any]) -> None:
    """Checks that all options are known and given once. Raises Problem 400."""
    for name, value in params.items():
        if name not in _OPTION_NAMES:
            raise unknown_parameter(name, value, _OPTIONS)
        if not isinstance(value, str):
            raise invalid_option(name, value, "duplicate", "given once")


def parse_params(params: Mapping[str, Any]) -> SubmissionParams:
    """Parses the options of an upload. Raises Problem 400 for unknown ones and invalid values."""
    check_names(params)
    if "course_id" in params:
        params = {**params, "course_id": restore_plus(params["course_id"])}
    for name, (is_valid, rule, expected) in _RULES.items():
        if name in params and not is_valid(params[name]):
            raise invalid_option(name, params[name], rule, expected)
    options = SubmissionOptions(
        default_mode=params.get("default_mode"),
        on_error=params.get("on_error", OnError.CONTINUE.value),
        source=params.get("source"),
        dry_run=_FLAGS[params.get("dry_run", "false").lower()],
        course_id=params.get("course_id"),
        ignore=params.get("ignore"),
    )
    lane = params.get("lane")
    return SubmissionParams(
        options, None if lane is None else Lane(lane), params.get("format", AUTO)
    )


def _is_list_of_names(text: str) -> bool:
    return len(text) <= MAX_IGNORE_CHARS and is_storable(text) and bool(split_names(text))


def is_mode(text: str) -> bool:
    """Returns whether the text can be the name of a mode."""
    return 0 < len(text) <= MAX_MODE and is_storable(text)


def _is_flag(text: str) -> bool:
    """Returns whether a text is a flag, in any case: clients in Python send `True`."""
    return text.lower() in _FLAGS


def _one_of(known: Iterable[str]) -> str:
    return f"one of {', '.join(sorted(known))}"


#: The check of each option's value, its rule, and the expected value in words.
_RULES: Mapping[str, tuple[Callable[[str], bool], str, str]] = {
    "format": (frozenset(FORMAT_NAMES).__contains__, Rule.ONE_OF, _one_of(FORMAT_NAMES)),
    "dry_run": (_is_flag, Rule.ONE_OF, _one_of(_FLAGS)),
    "on_error": (frozenset(OnError).__contains__, Rule.ONE_OF, _one_of(OnError)),
    "lane": (frozenset(Lane).__contains__, Rule.ONE_OF, _one_of(Lane)),
    "default_mode": (is_mode, Rule.LENGTH, f"1 to {MAX_MODE} characters"),
    "source": (is_source, Rule.SOURCE, "1 to 100 letters, digits, dots, dashes or underscores"),
    "ignore": (
        _is_list_of_names,
        Rule.PATTERN,
        f"names of columns with commas between them, up to {MAX_IGNORE_CHARS} characters",
    ),
    "course_id": (is_course_key, Rule.COURSE_KEY, "course-v1:org+course+run or org/course/run"),
}


def invalid_option(name: str, value: object, rule: str, expected: str) -> Problem:
    """Returns a Problem 400 that names the option and the expected value."""
    found = finding(name, value, rule, expected=expected)
    return bad_request("option_invalid", f"The option {name} must be {expected}.", found)


def read_flag(req: Request, name: str, *, default: bool) -> bool:
    """Reads a flag from the query. Raises Problem 400 for anything but true, 1, false or 0."""
    text = req.get_param(name)
    if text is not None and not _is_flag(text):
        raise invalid_option(name, text, Rule.ONE_OF, _one_of(_FLAGS))
    return default if text is None else _FLAGS[text.lower()]


def split_values(req: Request, name: str) -> list[str]:
    """Returns the values of a parameter, which are separated by commas, or each in one of its own.

    Spaces around a comma do not count.
    """
    given = req.get_param_as_list(name) or []
    return [value.strip() for text in given for value in text.split(",")]


def read_states(req: Request) -> frozenset[State]:
    """Reads the filter `state`, split at commas; none means all states. Raises Problem 400."""
    given = split_values(req, "state")
    for text in given:
        if text not in set(State):
            raise invalid_option("state", text, "one_of", f"one of {', '.join(State)}")
    return frozenset(map(State, given))


def read_submissions_cursor(req: Request) -> SubmissionPageKey | None:
    """Reads the start of the page, None for the first. Raises Problem 400 for an invalid cursor."""
    text = read_cursor(req)
    if text is None:
        return None
    received_at, _, id_ = text.partition(" ")
    try:
        return SubmissionPageKey(EPOCH + timedelta(microseconds=int(received_at)), UUID(id_))
    except (ValueError, OverflowError) as error:
        cursor = req.get_param("cursor")
        raise invalid_option("cursor", cursor, "range", "one that a response contained") from error
