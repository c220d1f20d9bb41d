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


class SubmittedChange(NamedTuple):
    """A change with the facts of its submission."""

    change: RequestedChange
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
class StoredEnrollment:
    """One enrollment, and the highest rank behind each of its fields."""

    is_active: bool
    mode: str
    active_rank: Rank
    mode_rank: Rank | None


class EffectiveFields(NamedTuple):
    """The fields of a change that no change of a higher rank has set; None where one has."""

    active: bool | None
    mode: str | None


@dataclass
class Model:
    """Decides requests by the rules alone and holds the resulting enrollments."""

    courses: dict[str, CourseFacts]
    #: (course, learner) of open invitations.
    invited: set[Key] = field(default_factory=set)
    enrollments: dict[Key, StoredEnrollment] = field(default_factory=dict)

    def decide_all(self, rows: list[SubmittedChange], *, all_or_nothing: bool) -> list[Answer]:
        """Decides rows in order; rolls all back if one fails and `all_or_nothing` is set."""
        before = dict(self.enrollments)
        answers = [self.decide(row) for row in rows]
        if all_or_nothing and any(code in {"refused", "invalid"} for code, _ in answers):
            self.enrollments = before
            failed = {"refused", "invalid"}
            return [
                (code, reason) if code in failed else ("refused", "aborted")
                for code, reason in answers
            ]
        return answers

    def decide(self, submitted: SubmittedChange) -> Answer:
        """Decides one row and stores its effect."""
        change = submitted.change
        if change.stated is not None and not submitted.states_time:
            return "refused", "not_permitted"
        if submitted.at > submitted.received_at:
            return "invalid", "invalid_row"
        if change.course_id not in self.courses:
            return "refused", "course_not_found"
        key = (change.course_id, change.user)
        now = self.enrollments.get(key)
        effective = _effective_fields(submitted, now)
        if now is not None and effective == (None, None):
            return ("unchanged" if _is_repeated(submitted, now) else "superseded"), None
        if now is not None and _is_in_effect(effective, now):
            self._write(key, submitted, now, effective)
            return "unchanged", None
        return self._change(key, submitted, now, effective)

    def _change(
        self,
        key: Key,
        submitted: SubmittedChange,
        now: StoredEnrollment | None,
        effective: EffectiveFields,
    ) -> Answer:
        active, mode = effective
        is_inactive = now is None or not now.is_active
        if active is False or (is_inactive and not submitted.change.is_active):
            return self._deactivate(key, submitted, now, effective)
        if mode is not None and mode not in MODES and not (is_inactive and active):
            return "refused", "mode_unavailable"
        if now is None or (is_inactive and active):
            reason = self._refusal_reason(key, submitted, mode)
            if reason is not None:
                return "refused", reason
            self._write(key, submitted, now, effective)
            return ("enrolled" if now is None else "reactivated"), None
        self._write(key, submitted, now, effective)
        return "mode_changed", None

    def _deactivate(
        self,
        key: Key,
        submitted: SubmittedChange,
        now: StoredEnrollment | None,
        effective: EffectiveFields,
    ) -> Answer:
        mode = effective.mode
        if now is not None and now.is_active and mode not in {None, now.mode}:
            return "refused", "mode_mismatch"
        if mode is not None and mode not in MODES:
            return "refused", "mode_unavailable"
        self._write(key, submitted, now, effective)
        return ("deactivated" if now is None or now.is_active else "mode_changed"), None

    def _refusal_reason(self, key: Key, submitted: SubmittedChange, mode: str | None) -> str | None:
        course = self.courses[key[0]]
        if mode is not None and mode not in MODES:
            return "mode_unavailable"
        closed = None
        if course.opens is not None and submitted.at <= course.opens:
            closed = "enrollment_not_open"
        elif course.closes is not None and submitted.at >= course.closes:
            closed = "enrollment_closed"
        if (closed or course.invite_only) and key not in self.invited:
            return closed or "invite_required"
        if course.capacity is not None and self.seats(key[0]) >= course.capacity:
            return "course_full"
        return None

    def _write(
        self,
        key: Key,
        submitted: SubmittedChange,
        now: StoredEnrollment | None,
        effective: EffectiveFields,
    ) -> None:
        active, mode = effective
        if now is None:
            now = StoredEnrollment(submitted.change.is_active, "audit", submitted.rank, None)
        if active is not None:
            now = replace(now, is_active=active, active_rank=submitted.rank)
        if mode is not None:
            now = replace(now, mode=mode, mode_rank=submitted.rank)
        self.enrollments[key] = now

    def seats(self, course_id: str) -> int:
        """Returns the number of seats taken in a course."""
        return sum(key[0] == course_id and one.is_active for key, one in self.enrollments.items())


def _effective_fields(submitted: SubmittedChange, now: StoredEnrollment | None) -> EffectiveFields:
    change = submitted.change
    if now is None:
        return EffectiveFields(change.is_active, change.mode)
    late = now.mode_rank is not None and submitted.rank < now.mode_rank
    return EffectiveFields(
        None if submitted.rank < now.active_rank else change.is_active,
        None if late else change.mode,
    )


def _is_in_effect(effective: EffectiveFields, now: StoredEnrollment) -> bool:
    return effective.active in {None, now.is_active} and effective.mode in {None, now.mode}


def _is_repeated(submitted: SubmittedChange, now: StoredEnrollment) -> bool:
    """Returns whether an equal change with the same effective time was applied already."""
    change = submitted.change
    same_mode = change.mode is None or (
        change.mode == now.mode and now.mode_rank is not None and now.mode_rank[0] == submitted.at
    )
    return same_mode and (now.active_rank[0], now.is_active) == (submitted.at, change.is_active)
