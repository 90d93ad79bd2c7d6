"""What an emulated controller measures of a simulated world that is late."""

from dataclasses import replace

import numpy as np
import pytest

from arm_driver.interface import ArmSample
from arm_driver.plant import CARRIED, FRESH_FOR, LATE, WorldPlant
from arm_driver.plausibility import Plausibility
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
    """Publishes a state of the world: its time [s], the first joint [rad] and its speed."""
    block = SharedBlock(cell.runtime_path("world.state"), world_dtype(cell), create=True)
    record = new_record(world_dtype(cell))

    def write(stamp: float, angle: float, speed: float = 0.0) -> None:
        record["time_ns"] = round(stamp * 1e9)
        record["left_q"], record["left_qd"] = angle * np.eye(7)[0], speed * np.eye(7)[0]
        block.write(record)

    yield write
    block.close()


def test_a_state_that_is_late_when_first_seen_is_carried_on_at_its_speed(cell, clock, publish):
    plant = WorldPlant(cell, "left", clock)
    publish(clock.now - 0.06, 0.1, speed=2.0)
    first = plant.read()
    clock.now += 0.01
    again = plant.read()  # the same state: a device repeats what it has
    publish(clock.now, 0.24, speed=2.0)
    after = plant.read()
    assert first is not None and first.q[0] == pytest.approx(0.1 + CARRIED)
    assert again is not None and again.q[0] == first.q[0]
    assert after is not None and after.q[0] == 0.24


@pytest.mark.parametrize("seed", range(4))
def test_an_arm_that_starts_and_brakes_in_a_world_that_is_late_is_believed(
    cell, clock, publish, seed
):
    rng = np.random.default_rng(seed)
    plant, look = WorldPlant(cell, "left", clock), Plausibility(cell.arms["left"])
    angle = speed = goal = 0.0
    due = clock.now  # when the world publishes its next state, and of which time that is
    state = (clock.now, angle, speed)
    for _ in range(14_000):
        clock.now += 0.001
        if rng.random() < 0.004:
            goal = rng.choice([-2.0, 0.0, 0.0, 2.0]) if abs(angle) < 0.8 else -2.0 * np.sign(angle)
        speed += np.clip(goal - speed, -0.02, 0.02)
        angle += 0.001 * speed
        if clock.now >= due:
            publish(*state)
            state = (clock.now, angle, speed)
            due = clock.now + (rng.uniform(0.03, 0.095) if rng.random() < 0.05 else 0.004)
        if rng.random() < 0.2:
            measured = plant.read()
            if measured is None:
                continue
            sample = ArmSample(
                sequence=0,
                wrench=None,
                received=clock.now,
                stamp_ns=round(clock.now * 1e9),
                position=measured.q,
                velocity=measured.qd,
                effort=np.zeros(7),
            )
            doubt = look.doubt(sample, None)
            assert "jumps" not in doubt, (clock.now, doubt)


def test_a_state_is_measured_as_it_is_until_the_next_one_or_for_a_while(cell, clock, publish):
    plant = WorldPlant(cell, "left", clock)
    publish(clock.now - LATE + 0.001, 0.1, speed=2.0)
    measured = plant.read()
    assert measured is not None and measured.q[0] == 0.1
    clock.now += FRESH_FOR
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
