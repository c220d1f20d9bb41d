"""Building blocks of the types of JSON answers.

Each answer is a `TypedDict`: the type checker checks the function that returns it, and
its schema in the OpenAPI document is derived from it. Constraints that Python's types cannot
express are metadata of `Annotated`, with the keywords of JSON Schema as fields.
"""

from typing import Annotated, NamedTuple, NotRequired, TypedDict

from enrollment.domain.codes import IdKind


class Doc(NamedTuple):
    """The meaning of a member."""

    description: str


class StringFormat(NamedTuple):
    """The format of a string."""

    format: str


class Range(NamedTuple):
    """The bounds of a number, both inclusive."""

    minimum: int
    maximum: int | None = None


class OneOf(NamedTuple):
    """The only values of a string that is not a `StrEnum` in the code."""

    enum: tuple[str, ...]


#: ISO 8601 in UTC, with `Z`.
Timestamp = Annotated[str, StringFormat("date-time")]
Uuid = Annotated[str, StringFormat("uuid")]
Count = Annotated[int, Range(0)]
#: A position, counted from 1.
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
    expected: NotRequired[
        Annotated[str | list[str], Doc("A list: the columns that the nearest file format needs.")]
    ]
    message: NotRequired[
        Annotated[str, Doc("A sentence: the field, its value, what is wrong, what to do.")]
    ]


class SavedJson(TypedDict):
    """The number of objects that were created or replaced."""

    saved: Count
