"""The world process: real time, targets from the blocks, resets, and how it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import DeviceError
from ate_core.shared_state import (
    GRIPPER_TARGET_DTYPE,
    SharedBlock,
    arm_target_dtype,
    new_record,
    world_dtype,
)
from ate_sim.realtime.control import SimControl

CELL = load_cell(None, "sim")
WORLD_DTYPE, ARM_TARGET_DTYPE = world_dtype(CELL), arm_target_dtype(CELL.arms["left"])
FIRST_JOINT = np.eye(7)[0]

WRITER = """
import sys, time
import numpy as np
from ate_core.contract import load_cell
from ate_core.shared_state import SharedBlock, arm_target_dtype, new_record
dtype = arm_target_dtype(load_cell(None, "sim").arms["left"])
block = SharedBlock(sys.argv[1], dtype, create=True)
record = new_record(dtype)
home = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
start = time.monotonic()
while True:
    record["time_ns"] = time.monotonic_ns()
    record["active"] = 1
    record["q"] = home
    record["q"][0, 0] = 0.3 * (time.monotonic() - start)
    block.write(record)
    time.sleep(0.005)
"""


@pytest.fixture
def world(start, runtime_dir: Path) -> Iterator[SimControl]:
    start("ate_sim.realtime.world", "--task", "pick_place", "--seed", "0")
    with SimControl(runtime_dir) as control:
        control.wait_until_up(time.monotonic() + 30.0)
        yield control


def _arm_q(block: SharedBlock, side: int = 0) -> np.ndarray:
    return block.read()[("left_q", "right_q")[side]]


def test_the_world_keeps_real_time(
    world: SimControl, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    block = SharedBlock(runtime_dir / "world.state", WORLD_DTYPE, create=False)
    first, versions = block.read(), block.version
    eventually(lambda: block.read()["time_ns"] - first["time_ns"] > 2_000_000_000)
    last = block.read()
    wall = (last["time_ns"] - first["time_ns"]) / 1e9
    assert (last["sim_time"] - first["sim_time"]) / wall == pytest.approx(1.0, abs=0.02)
    assert (block.version - versions) / wall > 150.0  # 250 Hz on idle cores
    assert world.timing()["drops"] == 0
    block.close()


def test_targets_in_the_blocks_move_arm_and_gripper(
    world: SimControl, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    state = SharedBlock(runtime_dir / "world.state", WORLD_DTYPE, create=False)
    arm = SharedBlock(runtime_dir / "arm_right.target", ARM_TARGET_DTYPE, create=True)
    gripper = SharedBlock(runtime_dir / "gripper_right.target", GRIPPER_TARGET_DTYPE, create=True)
    wanted = _arm_q(state, 1) + np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2])
    record = new_record(ARM_TARGET_DTYPE)
    record["time_ns"], record["active"], record["q"] = 1, 1, wanted
    arm.write(record)
    fingers = new_record(GRIPPER_TARGET_DTYPE)
    fingers["time_ns"], fingers["active"], fingers["force"], fingers["speed"] = 1, 1, 1.0, 1.0
    gripper.write(fingers)
    eventually(lambda: np.abs(_arm_q(state, 1) - wanted).max() < 0.01)
    eventually(lambda: state.read()["gripper"][1] < 0.05)
    assert np.abs(_arm_q(state, 0) - load_cell(None, "sim").arms["left"].home).max() < 0.01
    for block in (state, arm, gripper):
        block.close()


def test_arms_of_six_joints_move_in_a_world_of_their_own(
    start, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    cell = load_cell("six_axis", "sim")
    start("ate_sim.realtime.world", "--cell", "six_axis")
    with SimControl(runtime_dir) as control:
        control.wait_until_up(time.monotonic() + 30.0)
        state = SharedBlock(runtime_dir / "world.state", world_dtype(cell), create=False)
        dtype = arm_target_dtype(cell.arms["right"])
        arm = SharedBlock(runtime_dir / "arm_right.target", dtype, create=True)
        record = new_record(dtype)
        wanted = state.read()["right_q"] + 0.1
        record["time_ns"], record["active"], record["q"] = 1, 1, wanted
        arm.write(record)
        eventually(lambda: np.abs(state.read()["right_q"] - wanted).max() < 0.01)
        away = state.read()["right_q"]
        control.reset(seed=3, task="handover")
        assert np.abs(state.read()["right_q"] - away).max() < 0.01
        assert np.abs(state.read()["left_q"] - cell.arms["left"].home).max() < 0.01
        for block in (state, arm):
            block.close()


def test_a_killed_writer_leaves_the_arm_where_it_was_told_to_be(
    world: SimControl, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    state = SharedBlock(runtime_dir / "world.state", WORLD_DTYPE, create=False)
    path = runtime_dir / "arm_left.target"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env=dict(os.environ))
    try:
        eventually(lambda: _arm_q(state)[0] > 0.1)
    finally:
        writer.kill()
        writer.wait(timeout=10.0)
    target = SharedBlock(path, ARM_TARGET_DTYPE, create=False)
    last = float(target.read()["q"][0])
    eventually(lambda: np.abs(state.read()["left_qd"]).max() < 0.001)
    stopped, began = _arm_q(state), state.read()["sim_time"]
    assert stopped[0] == pytest.approx(last, abs=0.01)
    eventually(lambda: state.read()["sim_time"] > began + 0.5)
    np.testing.assert_allclose(_arm_q(state), stopped, atol=1e-3)
    target.close()
    state.close()


def test_a_restarted_writer_is_followed(
    world: SimControl, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    state = SharedBlock(runtime_dir / "world.state", WORLD_DTYPE, create=False)
    home = _arm_q(state)
    for stamp, angle in ((1, 0.1), (2, -0.1)):
        block = SharedBlock(runtime_dir / "arm_left.target", ARM_TARGET_DTYPE, create=True)
        record = new_record(ARM_TARGET_DTYPE)
        record["time_ns"], record["active"] = stamp, 1
        record["q"] = home + angle * FIRST_JOINT
        block.write(record)
        block.close()
        eventually(lambda angle=angle: abs(_arm_q(state)[0] - home[0] - angle) < 0.01)
    state.close()


def test_a_reset_is_seeded_and_leaves_the_arms_alone(
    world: SimControl, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    state = SharedBlock(runtime_dir / "world.state", WORLD_DTYPE, create=False)
    arm = SharedBlock(runtime_dir / "arm_left.target", ARM_TARGET_DTYPE, create=True)
    away = _arm_q(state) + 0.3 * FIRST_JOINT
    record = new_record(ARM_TARGET_DTYPE)
    record["time_ns"], record["active"], record["q"] = 1, 1, away
    arm.write(record)
    eventually(lambda: np.abs(_arm_q(state) - away).max() < 0.005)
    poses = []
    for seed in (7, 8, 7):
        epoch = world.reset(seed=seed)["epoch"]
        record = state.read()
        assert record["epoch"] == epoch
        assert np.abs(record["left_q"] - away).max() < 0.01
        poses.append(record["object_poses"][: int(record["object_count"])])
    np.testing.assert_allclose(poses[0], poses[2], atol=1e-5)
    assert np.abs(poses[0] - poses[1]).max() > 0.005
    for block in (state, arm):
        block.close()


def test_bad_requests_are_refused_and_the_world_goes_on(world: SimControl) -> None:
    for request in ({"task": "juggle"}, {"seed": "x"}, {"difficulty": "absurd"}, {"sed": 1}):
        with pytest.raises(DeviceError, match="refused 'reset'"):
            world.call("reset", **request)
    with pytest.raises(DeviceError, match="unknown command 'dance'"):
        world.call("dance")
    assert world.state()["task"] == "pick_place"
    assert world.score() == (0.0, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_world_ends_within_a_second_and_removes_its_files(
    start, stop, runtime_dir: Path, number: int
) -> None:
    process = start("ate_sim.realtime.world")
    with SimControl(runtime_dir) as control:
        control.wait_until_up(time.monotonic() + 30.0)
    assert stop(process, number) < 1.0
    assert list(runtime_dir.iterdir()) == []


def test_a_second_world_is_refused_in_one_line(world: SimControl, start) -> None:
    second = start("ate_sim.realtime.world")
    _, errors = second.communicate(timeout=30.0)
    assert second.returncode == 1
    assert "in use by another world" in errors
    assert errors.count("ERROR") == 1
    assert "Traceback" not in errors
