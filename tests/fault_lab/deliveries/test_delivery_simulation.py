"""Deliveries keep their promises in random schedules; mutants of them do not."""

import pytest

from enrollment.runtime.failpoints import Point
from tests.fault_lab import mutants
from tests.fault_lab.deliveries.simulation import DeliveryPlace, DeliverySimulation
from tests.fault_lab.simulator.processes import SIMULATED_POINTS

#: Schedules; ``python -m tests.fault_lab.simulator --deliveries`` runs more.
SEEDS = 50
#: The points of relay, consumer and replies.
POINTS = {
    Point.INBOUND_STORED,
    Point.REPLY_SENT,
    Point.RELAY_READ,
    Point.RELAY_PUBLISHED,
    Point.RELAY_STORED,
}


def test_every_schedule_delivers_everything_and_reaches_every_point():
    reached, raised, faults, accepted = set(), set(), {}, 0
    with DeliveryPlace() as place:
        for seed in range(SEEDS):
            simulation = DeliverySimulation(place, seed)
            report = simulation.play()
            faults |= {seed: report.faults} if report.faults else {}
            reached |= simulation.crash_plan.points
            raised |= simulation.crash_plan.raised.keys()
            accepted += report.accepted

    assert faults == {}
    assert accepted > 2 * SEEDS
    assert reached >= raised >= POINTS
    assert set(Point) == POINTS | set(SIMULATED_POINTS)


@pytest.mark.parametrize("name", mutants.DELIVERY_MUTANTS)
def test_sabotage_of_deliveries_is_found(name):
    assert mutants.find(name).report is not None
