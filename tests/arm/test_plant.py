"""What an emulated controller measures of a simulated world that is late."""

from dataclasses import replace

import numpy as np
import pytest

from arm_driver.plant import FRESH_FOR, LATE, WorldPlant
from ate_core.contract import load_cell
from ate_core.shared_state import SharedBlock, new_record, world_dtype
from ate_sim.realtime.world_host import Start, WorldHost
from ate_sim.tasks import load_task
from ate_sim.world.sim_world import SimWorld


class Clock:
    """Time that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cell(tmp_path):
    return replace(load_cell(None, "sim"), runtime_dir=str(tmp_path))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def publish(cell):
    """Publishes a state of the world; arguments: its time [s] and the first joint [rad]."""
    block = SharedBlock(cell.runtime_path("world.state"), world_dtype(cell), create=True)
    record = new_record(world_dtype(cell))

    def write(stamp: float, angle: float) -> None:
        record["time_ns"] = round(stamp * 1e9)
        record["left_q"] = angle * np.eye(7)[0]
        block.write(record)

    yield write
    block.close()


def test_a_state_that_is_late_already_when_it_is_first_seen_is_left_out(cell, clock, publish):
    plant = WorldPlant(cell, "left", clock)
    publish(clock.now - LATE - 0.01, 0.1)
    assert plant.read() is None
    publish(clock.now, 0.2)
    measured = plant.read()
    assert measured is not None and measured.q[0] == 0.2


def test_a_state_that_was_seen_in_time_is_measured_until_the_next_or_for_a_while(
    cell, clock, publish
):
    plant = WorldPlant(cell, "left", clock)
    publish(clock.now, 0.1)
    assert plant.read() is not None
    clock.now += FRESH_FOR - 0.01
    assert plant.read() is not None
    clock.now += 0.02
    assert plant.read() is None


def test_the_world_stamps_a_state_with_the_time_that_it_stands_for(cell):
    start = Start(task="pick_place", seed=0, difficulty="normal")
    host = WorldHost(start, cell, lambda task: SimWorld(load_task(task), cell=cell), 100.0)
    try:
        host.cycle(100.1)  # however long that takes
        block = SharedBlock(cell.runtime_path("world.state"), world_dtype(cell), create=False)
        assert block.read()["time_ns"] == round(100.1e9)
        block.close()
    finally:
        host.close()
