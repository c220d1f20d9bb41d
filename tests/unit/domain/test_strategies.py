"""The generated histories contain the situations that the properties are about."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from enrollment.domain.batch_decision import decide_batch
from enrollment.domain.codes import Code, Reason
from enrollment.domain.rules import refuse_outside_window
from tests.unit.domain.strategies import harmonies, histories, is_stated, merged, repeatable, steps

#: Outcomes that are found before a request reaches the rules.
DECIDED_EARLIER = {
    Code.INVALID,
    Code.CANCELLED,
    Reason.INVALID_ROW,
    Reason.INTERNAL_ERROR,
    Reason.NOT_PERMITTED,
    Reason.ABORTED,
    Code.SKIPPED,
    Reason.ROLE_NOT_LEARNER,
    Reason.STATUS_NOT_APPLICABLE,
    Reason.NOT_CURRENT,
    Reason.KEPT_BY_OTHER_RECORD,
}
DECIDED = [word for word in (*Code, *Reason) if word not in DECIDED_EARLIER]
SITUATIONS = [
    "tie",
    "tie of stated and received",
    "stale change",
    "stale change applied in part",
    "closed window",
    "full course",
    "several courses",
    "several learners",
    "kept mode",
    "first record of a withdrawal",
]
ONLY_GENERATED = settings(
    repeatable(400), phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)

WALKS = 5
WALK = settings(ONLY_GENERATED, derandomize=False, max_examples=300)


def situations_of_changes(rows):
    """Yields how several changes of one enrollment relate to each other."""
    for one, other in combinations(rows, 2):
        same = (one.username, one.course_id) == (other.username, other.course_id)
        if same and one.effective_at == other.effective_at:
            yield "tie"
            if is_stated(one) != is_stated(other):
                yield "tie of stated and received"
    yield from ["several courses"] * (len({row.course_id for row in rows}) > 1)
    yield from ["several learners"] * (len({row.username for row in rows}) > 1)


def situations_of_a_step(world, request, outcome):
    """Yields the situation of one request and its outcome."""
    course = world.courses.get(request.course_id)
    current = world.enrollments.get((request.course_id, request.username))
    yield outcome.code
    yield from [outcome.reason] * (outcome.reason is not None)
    if course is not None:
        yield from ["closed window"] * (refuse_outside_window(request, course) is not None)
        yield from ["full course"] * (course.capacity == course.seats_taken)
    if current is None:
        yield from ["first record of a withdrawal"] * (outcome.code is Code.DEACTIVATED)
        return
    yield from ["kept mode"] * (outcome.code is Code.REACTIVATED and request.mode is None)
    if request.precedence < current.activity_precedence:
        yield "stale change"
        is_applied = outcome.code in {Code.MODE_CHANGED, Code.UPDATED}
        yield from ["stale change applied in part"] * is_applied


@pytest.fixture(scope="module")
def seen():
    """Returns how often each situation, outcome and reason occurs."""
    found = Counter()

    def count_situations(history):
        rows = merged(history.submissions, history.order)
        found.update(set(situations_of_changes(rows)))
        for world, request, decision in steps(history.world, rows):
            found.update(set(situations_of_a_step(world, request, decision.outcomes[0])))

    # One run of Hypothesis may miss a rare situation that several runs contain.
    for number in range(WALKS):
        seed(number)(WALK(given(histories())(count_situations)))()
    return found


@pytest.mark.parametrize("situation", [*SITUATIONS, *DECIDED], ids=str)
def test_histories_hold(situation, seen):
    assert seen[situation], f"{situation} is met {seen[situation]} times"


def test_harmonies_are_mostly_granted_and_can_be_worked_in_several_orders():
    found = Counter()

    @ONLY_GENERATED
    @given(harmonies())
    def count_situations(history):
        granted = decide_batch(merged(history.submissions, history.order), history.world).outcomes
        refused = any(outcome.code is Code.REFUSED for outcome in granted)
        found["refused" if refused else "granted"] += 1
        pairs = combinations((row for rows in history.submissions for row in rows), 2)
        found["wishes that meet"] += any(
            (a.username, a.course_id) == (b.username, b.course_id)
            and a.precedence.at != b.precedence.at
            for a, b in pairs
        )

    count_situations()
    assert found["granted"] > 100
    assert found["wishes that meet"] > 100
