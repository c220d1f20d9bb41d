"""The result of a check of `enroll doctor`."""

import re
from typing import Literal, NamedTuple


class CheckResult(NamedTuple):
    """The result of one check, with advice if there is something to do."""

    mark: Literal["ok", "note", "wrong"]
    subject: str
    message: str
    advice: str = ""


def one_line(error: Exception) -> str:
    """Returns the message, without the client that redis-py prints for each Sentinel."""
    words = " ".join(str(error).split())
    return re.sub(r"<redis\S*\(.*?\)>\)>\)> - ", "", words) or type(error).__name__
