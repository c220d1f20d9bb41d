"""Renders the options of submissions."""

from typing import Annotated, TypedDict

from enrollment.domain.codes import OnError
from enrollment.domain.submissions import SubmissionOptions, split_names
from schemas.encoding.json_types import Doc, OneOf, Uuid


class OptionsJson(TypedDict, total=False):
    """The options that were given."""

    default_mode: str
    on_error: Annotated[str, OneOf(tuple(OnError))]
    source: str
    dry_run: bool
    auto_enroll: Annotated[bool, Doc("Of a bulk enrollment in the form of Open edX.")]
    reason: Annotated[str, Doc("The reason that the caller gave for a bulk enrollment.")]
    course_id: str
    ignore: Annotated[
        list[str], Doc("Names of columns and members that may look like ones that are read.")
    ]
    follows: Annotated[
        Uuid, Doc("The submission before it: the plan that it carries out, or the file it mends.")
    ]


def dump_options(options: SubmissionOptions) -> OptionsJson:
    """Renders the options that were given, and `on_error`."""
    dumped: OptionsJson = {}
    if options.default_mode is not None:
        dumped["default_mode"] = options.default_mode
    dumped["on_error"] = options.on_error
    if options.source is not None:
        dumped["source"] = options.source
    if options.dry_run:
        dumped["dry_run"] = True
    if options.auto_enroll is not None:
        dumped["auto_enroll"] = options.auto_enroll
    if options.reason is not None:
        dumped["reason"] = options.reason
    if options.course_id is not None:
        dumped["course_id"] = options.course_id
    if options.ignore is not None:
        dumped["ignore"] = split_names(options.ignore)
    if options.follows is not None:
        dumped["follows"] = options.follows
    return dumped
