"""Fail points do what they are armed for, and nothing else."""

import signal
import subprocess
import sys

import pytest

from enrollment.runtime import failpoints
from enrollment.runtime.failpoints import (
    Action,
    ArmedAction,
    FailPointReached,
    Point,
    fail_point,
    parse,
)


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def test_unarmed_points_do_nothing():
    assert not failpoints.is_armed()
    assert [fail_point(point) for point in Point] == [False] * len(Point)


def test_a_setting_names_points_actions_and_how_often():
    assert parse(
        "work.before_commit=crash%5; ring.before=sleep:0.25*3 ;work.judging=raise@poi.on"
    ) == (
        ArmedAction(Point.WORK_BEFORE_COMMIT, Action.CRASH, percent=5.0),
        ArmedAction(Point.RING_BEFORE, Action.SLEEP, seconds=0.25, times=3),
        ArmedAction(Point.WORK_JUDGING, Action.RAISE, about="poi.on"),
    )
    assert parse("") == parse(" ; ") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere=crash", "nowhere"),
        ("ring.before=explode", "explode"),
        ("ring.before", "POINT=ACTION"),
        ("ring.before=sleep:x", "POINT=ACTION"),
        ("work.judging=raise@(", "work.judging"),
        ("intake.committed=duplicate", "can be duplicated"),
    ],
)
def test_what_cannot_be_armed_says_why(text, says):
    with pytest.raises(ValueError, match=r"must be|contains") as error:
        parse(text)

    assert says in str(error.value)


def test_an_armed_point_raises_as_often_as_told_and_the_others_do_not(armed):
    armed("task.popped=raise*2")

    for _ in range(2):
        with pytest.raises(FailPointReached, match=r"task\.popped"):
            fail_point(Point.TASK_POPPED)
    assert not fail_point(Point.TASK_POPPED)
    assert not fail_point(Point.RING_BEFORE)


def test_a_point_may_be_about_certain_learners(armed):
    armed("work.judging=raise@poison")

    assert not fail_point(Point.WORK_JUDGING, "ada")
    with pytest.raises(FailPointReached, match="poisonous"):
        fail_point(Point.WORK_JUDGING, "poisonous")


def test_a_point_may_close_at_a_rate(armed):
    armed("ring.sent=duplicate%30")

    assert 200 < sum(fail_point(Point.RING_SENT) for _ in range(1_000)) < 400


def test_what_is_done_at_a_point_may_be_done_twice(armed):
    armed("sweep.announced=duplicate*1")

    assert [fail_point(Point.SWEEP_ANNOUNCED) for _ in range(2)] == [True, False]


def test_a_crash_leaves_no_time_for_anything():
    program = (
        "from enrollment.runtime import failpoints as f\n"
        "f.arm('task.popped=crash')\n"
        "try:\n    f.fail_point(f.Point.TASK_POPPED)\nfinally:\n    print('still here')\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert ended.returncode == -signal.SIGKILL
    assert "still here" not in ended.stdout


def test_processes_that_are_forked_from_one_draw_each_for_itself():
    program = (
        "import os\n"
        "from enrollment.runtime import failpoints as f\n"
        "f.arm('ring.sent=duplicate%50')\n"
        "for _ in range(4):\n"
        "    if not os.fork():\n"
        "        drawn = ''.join(str(int(f.fail_point(f.Point.RING_SENT))) for _ in range(64))\n"
        "        os.write(1, f'{drawn}\\n'.encode())\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )

    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    drawn = [line for line in told.stdout.splitlines() if set(line) <= {"0", "1"}]
    assert len(drawn) == len(set(drawn)) == 4
