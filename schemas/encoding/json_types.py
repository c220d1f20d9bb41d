"""Building blocks of the types of JSON answers.

Each answer is a ``TypedDict``: the function that makes it is checked by the type checker, and
its schema in the OpenAPI document is derived from it. What Python's types cannot say stands in
``Annotated``; the fields of that metadata are keywords of JSON Schema.
"""

from typing import Annotated, NamedTuple, NotRequired, TypedDict

from enrollment.domain.codes import IdKind


class Doc(NamedTuple):
    """What a member means."""

    description: str


class StringFormat(NamedTuple):
    """The format of a string."""

    format: str


class Range(NamedTuple):
    """The bounds of a number, both inclusive."""

    minimum: int
    maximum: int | None = None


class OneOf(NamedTuple):
    """The only values of a string that is not a ``StrEnum`` in the code."""

    enum: tuple[str, ...]


#: ISO 8601 in UTC, with ``Z``.
Timestamp = Annotated[str, StringFormat("date-time")]
Uuid = Annotated[str, StringFormat("uuid")]
Count = Annotated[int, Range(0)]
#: A place that is counted from 1.
Ordinal = Annotated[int, Range(1)]


class FindingJson(TypedDict):
    """One error in the input, and where it is."""

    pointer: NotRequired[Annotated[str, Doc("JSON pointer into the body.")]]
    line: NotRequired[Ordinal]
    column: NotRequired[Count]
    offset: NotRequired[Count]
    field: NotRequired[str]
    kind: NotRequired[Annotated[IdKind, Doc("What the unmapped id identifies.")]]
    value: NotRequired[object]
    rule: Annotated[str, Doc("The violated rule, as a stable word.")]
    expected: NotRequired[str]
    message: NotRequired[str]


class SavedJson(TypedDict):
    """The number of objects that were created or replaced."""

    saved: Count
