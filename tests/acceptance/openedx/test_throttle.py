"""4g: the throttle with its shipped rates. A number is that of the conformance table."""

import re
from collections.abc import Iterator

import pytest

from tests.support.openedx_client import KEY, SETTINGS, CoursePool, OpenEdxClient, as_learner

LEARNER_RATE, STAFF_RATE = 40, 120


@pytest.fixture(scope="module", params=["sqlite-1", "postgresql-1"], ids=["embedded", "servers"])
def throttled(request: pytest.FixtureRequest, start_whole) -> Iterator[OpenEdxClient]:
    """A client on a stack with the throttle as it is shipped."""
    with start_whole(request.param, ENROLL_THROTTLE="on", **SETTINGS) as whole:
        pool = CoursePool(whole.up)
        with pool.http:
            yield OpenEdxClient(pool)


def test_088_the_forty_first_call_in_a_minute_is_429(throttled):
    course, user = throttled.course(), throttled.learner()
    caller = as_learner(user)
    answers = [throttled.enroll(caller, course) for _ in range(LEARNER_RATE)]
    assert {answer.status_code for answer in answers} == {200}

    refused = throttled.enroll(caller, course)

    assert refused.status_code == 429
    seconds = int(refused.headers["retry-after"])
    assert 0 < seconds <= 60
    said = re.search(r"Request was throttled\. Expected available in (\d+) second", refused.text)
    assert int(said.group(1)) == seconds
    # one bucket for all routes
    assert throttled.get("/enrollment", caller).status_code == 429


def test_089_the_key_is_not_throttled(throttled):
    course, user = throttled.course(), throttled.learner()
    answers = [throttled.enroll(KEY, course, user=user) for _ in range(LEARNER_RATE + 10)]
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("who", ["learner", "staff"])
def test_090_both_rates_are_shown_to_their_callers(throttled, who):
    caller = as_learner(throttled.learner()) if who == "learner" else throttled.staff()
    answer = throttled.get("/enrollment", caller)
    assert answer.status_code == 200
    policy = answer.headers["ratelimit-policy"]
    assert re.search(r"\bq=(\d+)", policy).group(1) == str(
        LEARNER_RATE if who == "learner" else STAFF_RATE
    )
    assert re.search(r"\bw=(\d+)", policy).group(1) == "60"
    assert re.search(r"\br=\d+", answer.headers["ratelimit"])
