"""The emulated gripper whose fingers are in the simulated world."""

import dataclasses
from pathlib import Path

import pytest

from ate_core.contract import Cell, load_cell
from ate_core.errors import UsageError
from ate_core.shared_state import GRIPPER_TARGET_DTYPE, SharedBlock, new_record, world_dtype
from omnipicker_driver.emulator import WorldPlant
from omnipicker_driver.protocol import Command, Motion

STEP = 0.02
CELL = load_cell(None, "sim")


def cell_in(folder: Path) -> Cell:
    return dataclasses.replace(CELL, runtime_dir=str(folder))


class World:
    """Writes what the simulated world would; the right fingers follow their target at once."""

    def __init__(self, folder: Path, opening: float) -> None:
        self.folder = folder
        self.record = new_record(world_dtype(CELL))
        self.record["gripper"][0] = [0.0, opening]
        self.record["epoch"] = 1
        self.object: float | None = None
        self.now = 100.0
        self.block = SharedBlock(folder / "world.state", world_dtype(CELL), create=True)
        self.publish()

    def publish(self) -> None:
        self.record["time_ns"] = round(self.now * 1e9)
        self.block.write(self.record)

    def target(self) -> tuple[float, float]:
        path = self.folder / "gripper_right.target"
        block = SharedBlock(path, GRIPPER_TARGET_DTYPE, create=False)
        record = block.read()
        block.close()
        return float(record["position"]), float(record["force"])

    def run(self, plant: WorldPlant, seconds: float) -> list[int]:
        """Step both; returns the motion states in order, without repetitions."""
        told: list[int] = []
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            plant.advance(self.now)
            position, force = self.target()
            blocked = self.object is not None and position < self.object
            if self.object is not None:
                position = max(position, self.object)
            self.record["gripper"][0, 1] = position
            self.record["gripper_blocked"][0, 1] = blocked
            self.record["gripper_force"][0, 1] = force if blocked else 0.0
            self.publish()
            report = plant.report()
            if report is not None and told[-1:] != [report.motion]:
                told.append(report.motion)
        return told


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, opening=0.8)


@pytest.fixture
def plant(world: World) -> WorldPlant:
    plant = WorldPlant(cell_in(world.folder), "right")
    plant.advance(world.now)
    return plant


def test_target_starts_where_the_fingers_are_and_ramps(world: World, plant: WorldPlant) -> None:
    plant.command(Command(position=0.0, force=0.5), world.now)
    plant.advance(world.now)
    assert world.target() == (pytest.approx(0.8), 0.5)
    world.run(plant, 0.2)
    assert 0.5 < world.target()[0] < 0.7
    world.run(plant, 1.0)
    assert world.target()[0] == 0.0
    report = plant.report()
    assert report is not None
    assert (report.motion, report.position) == (Motion.REACHED, 0.0)


def test_grasp_is_reported_and_its_loss_is_told_once(world: World, plant: WorldPlant) -> None:
    world.object = 0.4
    plant.command(Command(position=0.0, force=0.5), world.now)
    assert world.run(plant, 1.0) == [Motion.MOVING, Motion.BLOCKED]
    report = plant.report()
    assert report is not None
    assert report.position == pytest.approx(0.4)
    assert report.force == 0.5
    world.object = None
    assert world.run(plant, 0.5) == [Motion.BLOCKED, Motion.LOST_OBJECT, Motion.REACHED]


def test_opening_from_a_grasp_loses_nothing(world: World, plant: WorldPlant) -> None:
    world.object = 0.4
    plant.command(Command(position=0.0), world.now)
    world.run(plant, 1.0)
    plant.command(Command(position=1.0), world.now)
    assert Motion.LOST_OBJECT not in world.run(plant, 1.0)


def test_short_push_before_the_start_is_no_grasp(world: World, plant: WorldPlant) -> None:
    plant.command(Command(position=0.0), world.now)
    world.record["gripper_blocked"][0, 1] = 1.0
    world.publish()
    plant.advance(world.now)
    assert world.run(plant, 1.0) == [Motion.MOVING, Motion.REACHED]


def test_reset_of_the_world_restarts_the_ramp_at_the_fingers(
    world: World, plant: WorldPlant
) -> None:
    plant.command(Command(position=0.0), world.now)
    world.run(plant, 1.0)
    world.record["epoch"] = 2
    world.record["gripper"][0, 1] = 0.9
    world.now += STEP
    world.publish()
    plant.advance(world.now)
    assert world.target()[0] == pytest.approx(0.9)


def test_without_a_world_the_gripper_is_without_power(tmp_path: Path) -> None:
    plant = WorldPlant(cell_in(tmp_path), "right")
    plant.command(Command(position=0.0), 100.0)
    plant.advance(100.0)
    assert plant.report() is None


def test_stopped_world_is_noticed_and_a_new_one_found(world: World, plant: WorldPlant) -> None:
    assert plant.report() is not None
    plant.advance(world.now + 1.0)
    assert plant.report() is None
    restarted = World(world.folder, opening=0.3)
    restarted.now = world.now + 2.0
    restarted.publish()
    plant.advance(restarted.now)
    report = plant.report()
    assert report is not None
    assert report.position == pytest.approx(0.3)


def test_objects_are_placed_in_the_world(plant: WorldPlant) -> None:
    with pytest.raises(UsageError, match="place objects there"):
        plant.set_object(0.5)
