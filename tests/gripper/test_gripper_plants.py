"""Motion of the emulated gripper, without a line."""

import pytest

from omnipicker_driver.emulator.drive import TOP_SPEED, Drive
from omnipicker_driver.emulator.plant import IdealPlant
from omnipicker_driver.protocol import Command, Motion


def run(plant: IdealPlant, begin: float, seconds: float) -> float:
    steps = round(seconds / 0.01)
    for step in range(1, steps + 1):
        plant.advance(begin + step * 0.01)
    return begin + steps * 0.01


def test_drive_reaches_its_goal_without_overshoot() -> None:
    drive, highest = Drive(position=0.0), 0.0
    for _ in range(120):
        drive = drive.advanced(Command(position=200 / 255), 0.01)
        highest = max(highest, drive.position)
    assert drive == Drive(position=200.0)
    assert highest == 200.0


def test_speed_byte_limits_the_speed() -> None:
    drive = Drive(position=255.0).advanced(Command(position=0.0, speed=0.5), 0.2)
    assert drive.velocity == pytest.approx(-TOP_SPEED / 2)


def test_motion_does_not_depend_on_the_step() -> None:
    command, coarse, fine = Command(position=1.0), Drive(position=0.0), Drive(position=0.0)
    coarse = coarse.advanced(command, 0.3)
    for _ in range(150):
        fine = fine.advanced(command, 0.002)
    assert coarse.position == pytest.approx(fine.position, abs=0.5)


def test_states_follow_a_grasp() -> None:
    plant = IdealPlant(position=1.0)
    plant.set_object(0.4)
    plant.command(Command(position=0.0, force=0.5), 0.0)
    now = run(plant, 0.0, 0.1)
    assert plant.report().motion == Motion.MOVING
    now = run(plant, now, 1.0)
    report = plant.report()
    assert (report.motion, report.force) == (Motion.BLOCKED, 0.5)
    assert report.position == pytest.approx(0.4)
    plant.command(Command(position=0.6), now)
    now = run(plant, now, 0.5)
    assert plant.report().motion == Motion.REACHED
    assert plant.report().position == pytest.approx(0.6)


def test_lost_object_is_told_once_and_closing_goes_on() -> None:
    plant = IdealPlant(position=1.0)
    plant.set_object(0.4)
    plant.command(Command(position=0.0), 0.0)
    now = run(plant, 0.0, 1.0)
    plant.set_object(None)
    assert [plant.report().motion for _ in range(2)] == [Motion.LOST_OBJECT, Motion.MOVING]
    run(plant, now, 1.0)
    assert plant.report().position == 0.0


def test_fault_stops_the_fingers() -> None:
    plant = IdealPlant(position=1.0)
    plant.command(Command(position=0.0), 0.0)
    now = run(plant, 0.0, 0.2)
    plant.set_fault(1)
    now = run(plant, now, 0.01)
    stopped = plant.report().position
    run(plant, now, 0.5)
    assert plant.report().position == stopped
    assert plant.report().fault == 1
