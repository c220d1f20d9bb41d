"""A reference model of the enrollment rules, on dictionaries.

It has no clocks, tables or batches: changes arrive in the order of processing, each with its rank.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from tests.fault_lab.simulator.workload import MODES, RequestedChange

#: (course, learner).
Key = tuple[str, str]
#: Greater is later: (effective time, stated or received, intake, line).
Rank = tuple[datetime, int, int, int]
#: An outcome and its reason.
Answer = tuple[str, str | None]


class Asked(NamedTuple):
    """A change with the facts of its submission."""

    wish: RequestedChange
    received_at: datetime
    rank: Rank
    states_time: bool

    @property
    def at(self) -> datetime:
        """Returns the effective time."""
        return self.rank[0]


@dataclass(frozen=True)
class CourseFacts:
    """A course as its operator saved it."""

    capacity: int | None = None
    opens: datetime | None = None
    closes: datetime | None = None
    invite_only: bool = False


@dataclass(frozen=True)
class Record:
    """One enrollment, and the highest rank behind each of its fields."""

    is_active: bool
    mode: str
    active_rank: Rank
    mode_rank: Rank | None


class Heard(NamedTuple):
    """The fields of a change that no change of a higher rank has set; None where one has."""

    active: bool | None
    mode: str | None


@dataclass
class Model:
    """Decides requests by the rules alone and holds the resulting enrollments."""

    courses: dict[str, CourseFacts]
    #: (course, learner) of open invitations.
    invited: set[Key] = field(default_factory=set)
    records: dict[Key, Record] = field(default_factory=dict)

    def judge_all(self, rows: list[Asked], *, all_or_nothing: bool) -> list[Answer]:
        """Decides rows in order; rolls all back if one fails and `all_or_nothing` is set."""
        before = dict(self.records)
        answers = [self.judge(row) for row in rows]
        if all_or_nothing and any(code in {"refused", "invalid"} for code, _ in answers):
            self.records = before
            failed = {"refused", "invalid"}
            return [
                (code, why) if code in failed else ("refused", "aborted") for code, why in answers
            ]
        return answers

    def judge(self, asked: Asked) -> Answer:
        """Decides one row and stores its effect."""
        wish = asked.wish
        if wish.stated is not None and not asked.states_time:
            return "refused", "not_permitted"
        if asked.at > asked.received_at:
            return "invalid", "invalid_row"
        if wish.course_id not in self.courses:
            return "refused", "course_not_found"
        key = (wish.course_id, wish.user)
        now = self.records.get(key)
        heard = _heard(asked, now)
        if now is not None and heard == (None, None):
            return ("unchanged" if _ties(asked, now) else "superseded"), None
        if now is not None and _is_true_already(heard, now):
            self._write(key, asked, now, heard)
            return "unchanged", None
        return self._change(key, asked, now, heard)

    def _change(self, key: Key, asked: Asked, now: Record | None, heard: Heard) -> Answer:
        active, mode = heard
        away = now is None or not now.is_active
        if active is False or (away and not asked.wish.is_active):
            return self._withdraw(key, asked, now, heard)
        if mode is not None and mode not in MODES and not (away and active):
            return "refused", "mode_unavailable"
        if now is None or (away and active):
            why = self._why_not(key, asked, mode)
            if why is not None:
                return "refused", why
            self._write(key, asked, now, heard)
            return ("enrolled" if now is None else "reactivated"), None
        self._write(key, asked, now, heard)
        return "mode_changed", None

    def _withdraw(self, key: Key, asked: Asked, now: Record | None, heard: Heard) -> Answer:
        mode = heard.mode
        if now is not None and now.is_active and mode not in {None, now.mode}:
            return "refused", "mode_mismatch"
        if mode is not None and mode not in MODES:
            return "refused", "mode_unavailable"
        self._write(key, asked, now, heard)
        return ("deactivated" if now is None or now.is_active else "mode_changed"), None

    def _why_not(self, key: Key, asked: Asked, mode: str | None) -> str | None:
        course = self.courses[key[0]]
        closed = None
        if course.opens is not None and asked.at <= course.opens:
            closed = "enrollment_not_open"
        elif course.closes is not None and asked.at >= course.closes:
            closed = "enrollment_closed"
        if (closed or course.invite_only) and key not in self.invited:
            return closed or "invite_required"
        if mode is not None and mode not in MODES:
            return "mode_unavailable"
        if course.capacity is not None and self.seats(key[0]) >= course.capacity:
            return "course_full"
        return None

    def _write(self, key: Key, asked: Asked, now: Record | None, heard: Heard) -> None:
        active, mode = heard
        if now is None:
            now = Record(asked.wish.is_active, "audit", asked.rank, None)
        if active is not None:
            now = replace(now, is_active=active, active_rank=asked.rank)
        if mode is not None:
            now = replace(now, mode=mode, mode_rank=asked.rank)
        self.records[key] = now

    def seats(self, course_id: str) -> int:
        """Returns the number of seats taken in a course."""
        return sum(key[0] == course_id and one.is_active for key, one in self.records.items())


def _heard(asked: Asked, now: Record | None) -> Heard:
    wish = asked.wish
    if now is None:
        return Heard(wish.is_active, wish.mode)
    late = now.mode_rank is not None and asked.rank < now.mode_rank
    return Heard(
        None if asked.rank < now.active_rank else wish.is_active, None if late else wish.mode
    )


def _is_true_already(heard: Heard, now: Record) -> bool:
    return heard.active in {None, now.is_active} and heard.mode in {None, now.mode}


def _ties(asked: Asked, now: Record) -> bool:
    """Returns whether an equal change with the same effective time was applied already."""
    wish = asked.wish
    same_mode = wish.mode is None or (
        wish.mode == now.mode and now.mode_rank is not None and now.mode_rank[0] == asked.at
    )
    return same_mode and (now.active_rank[0], now.is_active) == (asked.at, wish.is_active)
