"""The result of a check of `enroll doctor`."""

from typing import Literal, NamedTuple


class CheckResult(NamedTuple):
    """The result of one check, with advice if there is something to do."""

    mark: Literal["ok", "note", "wrong"]
    subject: str
    message: str
    advice: str = ""
