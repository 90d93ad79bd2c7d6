"""The driver against the emulated controller, through the unmodified SDK."""

import time

import numpy as np
import pytest

from ate_core.contract import SafetyConfig

START = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
LARGEST_STEP = 0.06
"""No recorded set point may move further in 5 ms: 2 rad/s with jitter of the machine [rad]."""


def wave(t: float) -> np.ndarray:
    """A smooth path that begins at the start."""
    return START + 0.15 * (1 - np.cos(2.0 * t))


def setpoints(controller, since: float = 0.0) -> np.ndarray:
    trace = controller.control.trace()
    return trace[trace[:, 0] >= since]


def largest_step(trace: np.ndarray) -> float:
    return float(np.abs(np.diff(trace[:, 1:8], axis=0)).max())


def test_commands_reach_the_arm(rig, controller) -> None:
    refusals = rig.drive(lambda t: wave(min(t, 0.8)), 1.4)
    assert refusals.count("") > len(refusals) / 2  # all but what a busy machine delayed
    assert np.allclose(rig.client.latest().position, wave(0.8), atol=2e-3)
    assert controller.control.status()["refused_frames"] == 0
    assert largest_step(setpoints(controller)) < LARGEST_STEP


def test_silent_commander_makes_the_arm_hold_within_its_timeout(rig) -> None:
    rig.drive(wave, 0.6)
    assert rig.wait_for_state("holding")
    held_at = next(t for t, state in reversed(rig.states) if state == "holding")
    tick_before = max(t for t in rig.ticks if t < held_at)
    assert tick_before - rig.last_accepted <= SafetyConfig().command_timeout
    assert "no fresh command of teleop" in rig.status.reason


def test_stale_command_is_dropped(rig) -> None:
    assert "old, bound 100 ms" in rig.command(START, age=0.5)
    assert rig.driver.refused == 1
    assert rig.sent == []


def test_second_commander_is_refused(rig) -> None:
    assert rig.command(START) == ""
    assert rig.command(START, commander="policy") == "teleop holds the arm, policy is refused"


def test_unknown_joints_and_nameless_commanders_are_refused(rig) -> None:
    now = time.monotonic()
    names = ["joint1"] * 7
    assert "need" in rig.driver.command(names, START.tolist(), "teleop", now, now).reason
    assert "need a name" in rig.command(START, commander="")


def only_the_brake_left_without_a_fresh_state(rig) -> bool:
    longest = SafetyConfig().feedback_timeout + 0.2  # the brake ends by then
    return all(
        sent_at - max(t for t in rig.received if t <= sent_at) <= longest
        for sent_at, _ in rig.sent
    )


def test_stalled_controller_makes_the_driver_hold_and_it_resumes_without_a_jump(
    rig, controller
) -> None:
    rig.drive(wave, 0.5)
    controller.control.fault("stall", seconds=0.3)
    rig.drive(lambda t: wave(t + 0.5), 0.25)
    assert "no_feedback" in [state for _, state in rig.states]
    assert only_the_brake_left_without_a_fresh_state(rig)
    assert rig.wait_for_state("connected")
    assert rig.client.health()["links made"] == "1"  # too short to give the link up
    here = rig.client.latest().position
    rig.drive(lambda t: here + 0.1 * (1 - np.cos(2.0 * t)), 0.5)
    assert largest_step(setpoints(controller)) < LARGEST_STEP
    assert controller.control.status()["refused_frames"] == 0


def test_cut_link_is_made_again_and_the_motion_starts_from_the_measured_joints(
    rig, controller
) -> None:
    rig.drive(wave, 0.6)
    controller.control.fault("cut", seconds=0.6)
    assert rig.wait_for_state("disconnected")
    assert controller.control.status()["controlled_stops"] == 1
    assert rig.wait_for_state("connected")
    assert rig.client.session == 2
    here = rig.client.latest().position
    rig.drive(lambda t: here + 0.1 * (1 - np.cos(2.0 * t)), 0.5)
    assert largest_step(setpoints(controller)) < LARGEST_STEP


def test_restarted_controller_takes_the_arm_over_where_it_is(rig, controller) -> None:
    rig.drive(wave, 0.6)
    controller.control.fault("restart", seconds=0.3)
    assert rig.wait_for(lambda: rig.client.session == 2, seconds=8.0)
    assert rig.wait_for_state("connected")
    rig.be_silent()
    here = rig.client.latest().position
    refusals = rig.drive(lambda t: here + 0.1 * (1 - np.cos(2.0 * t)), 0.5)
    assert refusals[-1] == ""
    assert largest_step(setpoints(controller)) < LARGEST_STEP


def test_controller_that_stops_reading_is_noticed(rig, controller) -> None:
    controller.control.fault("stop_reading", seconds=4.0)
    assert rig.wait_for_state("disconnected", seconds=4.0)
    assert rig.wait_for_state("connected", seconds=8.0)


@pytest.mark.parametrize("fault", ["nan", "garbage", "drop_udp"])
def test_broken_state_push_makes_the_driver_hold(rig, controller, fault: str) -> None:
    controller.control.fault(fault, seconds=0.4)
    assert rig.wait_for(lambda: "no_feedback" in [state for _, state in rig.states])
    assert rig.wait_for_state("connected")
    assert np.allclose(rig.client.latest().position, START, atol=1e-3)


def test_slow_replies_disturb_neither_the_stream_nor_the_stop(rig, controller) -> None:
    controller.control.fault("slow", seconds=2.0, delay=0.2)
    begin = time.monotonic()
    rig.drive(wave, 0.6)
    assert controller.control.status()["frames"] > 10
    assert rig.driver.stop("test")  # the stream brakes; nobody waits for a reply
    assert rig.wait_for_state("stopped")
    assert time.monotonic() - begin < 1.8


def test_state_that_repeats_itself_is_as_old_as_its_first_packet(rig, controller) -> None:
    rig.drive(wave, 0.4)
    controller.control.fault("frozen", seconds=0.4)
    rig.drive(lambda t: wave(t + 0.4), 0.35)
    assert "no_feedback" in [state for _, state in rig.states]
    assert only_the_brake_left_without_a_fresh_state(rig)
    assert rig.wait_for_state("connected")


def test_resting_arm_is_not_taken_for_a_frozen_one(rig) -> None:
    seen = len(rig.received)
    assert rig.wait_for(lambda: len(rig.received) > seen + 30)


def test_collision_is_a_fault_until_it_is_cleared(rig, controller) -> None:
    rig.drive(wave, 0.4)
    controller.control.fault("collision")
    assert rig.wait_for_state("fault")
    assert rig.status.reason == "0x100D collision"
    assert "collision" in rig.command(START)
    assert "clear_errors" in rig.driver.enable()
    assert rig.driver.clear_errors() == ""
    assert rig.driver.enable() == ""
    assert rig.wait_for_state("connected")
    rig.be_silent()
    assert rig.command(rig.client.latest().position) == ""


def test_joint_error_is_cleared_joint_by_joint(rig, controller) -> None:
    controller.control.fault("joint_error", joint=3, code=0x0040)
    assert rig.wait_for_state("fault")
    assert rig.status.reason == "joint 3 0x0040 overcurrent"
    assert rig.driver.clear_errors() == ""
    assert rig.driver.enable() == ""
    assert rig.wait_for_state("connected")
    assert controller.control.status()["joint_errors"] == [0] * 7


def test_stop_is_latched_until_enabled(rig, controller) -> None:
    rig.drive(wave, 0.4)
    assert rig.driver.stop("test")
    assert rig.wait_for(lambda: rig.driver.at_rest)
    frames = controller.control.status()["frames"]
    assert "stopped" in rig.command(rig.client.latest().position)
    assert rig.wait_for_state("stopped")
    assert controller.control.status()["frames"] == frames
    assert rig.driver.enable() == ""
    assert rig.wait_for_state("connected")
    assert "kept sending through a stop" in rig.command(rig.client.latest().position)
    rig.be_silent()
    assert rig.command(rig.client.latest().position) == ""


def test_clearing_a_fault_does_not_end_a_stop(rig, controller) -> None:
    assert rig.driver.stop("test")
    controller.control.fault("collision")
    assert rig.wait_for_state("fault")
    assert rig.driver.clear_errors() == ""
    assert rig.wait_for_state("stopped")
    assert "stopped: " in rig.command(rig.client.latest().position)
    assert rig.driver.enable() == ""
    assert rig.wait_for_state("connected")


def test_way_home_is_slow_and_refused_while_someone_holds_the_arm(rig, controller) -> None:
    rig.drive(wave, 0.8)
    assert "teleop holds the arm, home" in rig.driver.home(time.monotonic())
    assert rig.wait_for_state("connected")
    since = time.monotonic()
    assert rig.driver.home(since) == ""
    assert rig.wait_for_state("homing")
    assert rig.wait_for(lambda: np.allclose(rig.client.latest().position, START, atol=2e-3))
    assert rig.wait_for_state("connected")
    trace = setpoints(controller, since)
    moved = np.abs(trace[20:, 1:8] - trace[:-20, 1:8]).max(axis=1)
    seconds = trace[20:, 0] - trace[:-20, 0]
    assert (moved / seconds).max() < 0.65  # 0.5 rad/s, and what a busy machine bunches


def test_closing_brings_the_arm_to_rest(rig, controller) -> None:
    rig.drive(wave, 0.4)
    begin = time.monotonic()
    rig.close()
    assert time.monotonic() - begin < 1.5
    assert rig.wait_for(lambda: controller.control.status()["clients"] == 0)
    assert controller.control.status()["controlled_stops"] == 1
