"""When a failed delivery is attempted again: after seconds at first, over days at last."""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

_MINUTE, _HOUR = 60, 3_600
#: Seconds between an attempt and the next one, about three and a half days in all.
RETRY_SECONDS = (
    5,
    30,
    2 * _MINUTE,
    10 * _MINUTE,
    30 * _MINUTE,
    _HOUR,
    2 * _HOUR,
    4 * _HOUR,
    8 * _HOUR,
    12 * _HOUR,
    24 * _HOUR,
    24 * _HOUR,
)
#: Part of a delay by which it is made longer or shorter at random, so that retries do not meet.
JITTER = 0.2
#: Longest delay that a receiver can ask for.
MAX_RETRY_AFTER = 24 * _HOUR
#: Longest pause of an endpoint, in seconds, while one delivery after the other fails.
MAX_PAUSE_SECONDS = 60


def retry_delay(attempts: int, *, random: float, retry_after: float = 0.0) -> float | None:
    """Returns the seconds until the next attempt, after a number of attempts; None for no more.

    `random` is from 0 to 1, `retry_after` the least delay that the receiver asked for.
    """
    if attempts > len(RETRY_SECONDS):
        return None
    delay = RETRY_SECONDS[attempts - 1] * (1 + JITTER * (2 * random - 1))
    return max(delay, min(retry_after, MAX_RETRY_AFTER))


def endpoint_pause(failures: int) -> float:
    """Returns the seconds for which nothing is sent after a number of failures in a row."""
    return 0.0 if failures == 0 else float(min(2 ** min(failures, 10), MAX_PAUSE_SECONDS))


def parse_retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Returns the seconds that `Retry-After` asks for (RFC 9110, 10.2.3); 0 without a valid one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), MAX_RETRY_AFTER))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        return 0.0
    return min(max(0.0, (moment - now).total_seconds()), MAX_RETRY_AFTER)
