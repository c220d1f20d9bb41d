"""Kinds and attributes of spans, and the interface of an open one."""

from collections.abc import Mapping
from enum import Enum

Attributes = Mapping[str, str | int | float | bool]
#: Attributes that many spans have.
SUBMISSION_KEY, BATCH_KEY = "enroll.submission_id", "enroll.batch_id"


class SpanKind(Enum):
    """The role of a span, as OpenTelemetry names it."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class OpenSpan:
    """A span that has begun; this one is not recorded."""

    __slots__ = ()

    @property
    def traceparent(self) -> str | None:
        """The context of its children, in the form of the W3C; None if it is not recorded."""
        return None

    def rename(self, name: str) -> None:
        """Gives it another name."""

    def annotate(self, attributes: Attributes) -> None:
        """Adds attributes."""

    def fail(self, reason: str) -> None:
        """Marks it as failed; the reason is a code or the name of a class."""
