"""Random schedules violate no invariant; mutants of the code do."""

import os
import subprocess
import sys

import pytest

from tests.fault_lab import mutants
from tests.fault_lab.simulator import __main__ as command
from tests.fault_lab.simulator.environment import Environment
from tests.fault_lab.simulator.processes import SIMULATED_POINTS
from tests.fault_lab.simulator.schedule import Schedule, play

#: Quick; ``make faults`` runs thousands.
SEEDS = 150
PART = 50
DETERMINED = range(3_000, 3_012)


@pytest.fixture
def environment():
    with Environment() as made:
        yield made


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_every_schedule_keeps_every_promise(environment, first):
    reports = [play(environment, seed) for seed in range(first, first + PART)]

    assert {report.seed: report.faults for report in reports if report.faults} == {}
    assert sum(report.accepted for report in reports) > PART


def test_a_schedule_is_fully_determined_by_its_seed(environment):
    played = [play(environment, seed).trace for seed in DETERMINED]
    played_again = [play(environment, seed).trace for seed in reversed(DETERMINED)][::-1]

    assert played == played_again


def test_a_schedule_is_the_same_in_another_process(environment):
    """With another order of sets of strings."""
    seed = DETERMINED[0]
    other = subprocess.run(
        [sys.executable, "-m", command.__package__, "--seed", str(seed), "--verbose"],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )

    printed = [line.removeprefix("  ") for line in other.stdout.splitlines()]
    assert printed[1:-1] == play(environment, seed).trace


def test_schedules_reach_the_simulated_fail_points_and_no_others(environment):
    reached = set()
    for seed in range(PART):
        schedule = Schedule(environment, seed)
        schedule.play()
        reached |= schedule.crash_plan.points

    assert reached == set(SIMULATED_POINTS)


@pytest.mark.parametrize("name", mutants.MUTANTS)
def test_sabotage_is_found(name):
    found = mutants.find(name)

    assert found.report is not None
    assert not any("it broke" in fault for fault in found.report.faults)


def test_the_command_shows_what_broke_and_how(capsys):
    with mutants.MUTANTS["no_redispatch"]():
        found = mutants.find("no_redispatch")
        status = command.main(["--seed", str(found.report.seed)])

    shown = capsys.readouterr().out
    assert status == 1
    assert all(fault in shown for fault in found.report.faults[: command.SHOWN])
    assert found.report.trace[-1] in shown
