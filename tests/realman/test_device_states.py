"""What the controller tells of the arm's readiness and health, and an arm against an obstacle."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from arm_driver.plant import IdealPlant, Measurement
from ate_core.loop import FixedRateLoop
from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.server import ControllerServer

from .conftest import START, RunningController, arm_config

pytest.importorskip("Robotic_Arm")
WALL = 0.08
"""Joint 1 comes no further: something stands there [rad]."""


def wave(t: float) -> np.ndarray:
    return START + 0.15 * (1 - np.cos(2.0 * t))


def silence(rig, seconds: float) -> None:
    end = time.monotonic() + seconds
    assert rig.wait_for(lambda: time.monotonic() > end)


def errors(controller) -> tuple[list[int], list[int]]:
    status = controller.control.status()
    return status["errors"], status["joint_errors"]


def largest_step(controller, since: float = 0.0) -> float:
    """Of the set point in 5 ms [rad]; a later look of a busy machine sees more of them at once."""
    trace = controller.control.trace()
    trace = trace[trace[:, 0] >= since]
    periods = np.maximum(np.diff(trace[:, 0]) / 0.005, 1.0)
    return float((np.abs(np.diff(trace[:, 1:8], axis=0)).max(axis=1) / periods).max())


@pytest.mark.parametrize(
    ("fault", "arguments", "words"),
    [
        ("hand_guiding", {"seconds": 0.6}, "hand guiding (current_drag)"),
        ("pendant", {"angle": 0.1}, "a motion from the pendant"),
        ("pendant_stop", {}, "a stop from the pendant or another program (stop)"),
    ],
)
def test_arm_in_other_hands_is_not_commanded_until_it_is_enabled_again(
    rig, controller, fault: str, arguments: dict[str, float], words: str
) -> None:
    rig.drive(wave, 0.3)
    assert rig.wait_for_state("connected") or rig.status.state == "holding"
    silence(rig, 0.6)  # the arm's own last motion is over
    controller.control.fault(fault, **arguments)
    assert rig.wait_for_state("not_ready")
    assert words in rig.status.reason
    assert words in rig.command(START)
    assert rig.wait_for(lambda: rig.client.latest().obstacle == "")
    assert rig.wait_for(lambda: "call arm/enable" in rig.command(START))
    frames = controller.control.status()["frames"]
    assert rig.wait_for(lambda: rig.driver.enable() == "")
    assert rig.wait_for_state("connected")
    assert controller.control.status()["frames"] == frames
    rig.be_silent()  # of the commander, which kept on asking
    here = rig.client.latest().position
    refusals = rig.drive(lambda t: here + 0.1 * (1 - np.cos(2.0 * t)), 0.8)
    assert refusals[-1] == ""
    assert errors(controller) == ([], [0] * 7)
    assert largest_step(controller) < 0.06


def test_stop_of_another_program_is_not_overridden_by_the_next_target(rig, controller) -> None:
    rig.drive(wave, 0.5)
    with socket.create_connection((controller.config.ip, 8080)) as other:
        other.sendall(b'{"command":"set_arm_stop"}\r\n')
        assert other.recv(100)
    stopped_at = time.monotonic()
    rig.drive(lambda t: wave(t + 0.5), 0.5)
    assert "not_ready" in [state for _, state in rig.states]
    assert rig.wait_for_state("stopped")
    assert "call arm/enable" in rig.command(START)
    assert controller.control.status()["status"] in ("stop", "slow_stop")  # the driver's own
    trace = controller.control.trace()
    held = trace[trace[:, 0] >= stopped_at + 0.1, 1:8]
    assert np.ptp(held, axis=0).max() < 1e-9  # it braked, and no target came after
    assert rig.wait_for(lambda: rig.driver.enable() == "")
    assert rig.wait_for_state("connected")


def test_stop_in_fast_motion_is_carried_out_and_the_arm_does_not_come_back(
    rig, controller
) -> None:
    rig.drive(lambda t: START + 0.5 * (1 - np.cos(3.0 * t)) * np.eye(7)[0], 0.6)
    assert rig.driver.stop_device("test", 1.0)
    assert rig.wait_for(lambda: rig.status.state in ("connected", "holding"))
    silence(rig, 0.3)
    joint = controller.control.trace()[:, 1]
    assert np.ptp(joint) > 0.2  # it was on its way
    assert joint.max() - joint[-1] < 0.005


def test_own_stops_need_no_enable(rig, controller) -> None:
    rig.drive(wave, 0.4)
    assert rig.driver.stop_device("test", 1.0)
    silence(rig, 0.3)
    assert rig.wait_for_state("connected")
    assert rig.client.latest().obstacle == ""
    rig.be_silent()  # of the commander
    assert rig.command(rig.client.latest().position) == ""


def test_disabled_joint_is_named_and_enabled_by_clearing(rig, controller) -> None:
    controller.control.fault("disable_joint", joint=3)
    assert rig.wait_for_state("not_ready")
    assert "joint 3 disabled: call arm/clear_errors to enable" in rig.status.reason
    assert "joint 3 disabled" in rig.command(START)
    assert rig.driver.clear_errors() == ""
    assert rig.wait_for(lambda: rig.client.latest().obstacle == "")
    assert rig.driver.enable() == ""
    assert rig.wait_for_state("connected")
    rig.be_silent()  # of the commander
    assert rig.command(rig.client.latest().position) == ""


@pytest.mark.parametrize(
    ("fault", "arguments", "word"),
    [
        ("field", {"field": "joint_position", "joint": 3, "value": 99999999}, "position"),
        ("field", {"field": "joint_position", "joint": 2, "value": "x"}, "joint_position"),
        ("field", {"field": "joint_current"}, "joint_current"),
        ("field", {"field": "joint_speed", "joint": 1, "value": 1e9}, "velocity"),
        ("field", {"field": "joint_temperature", "value": 99999999}, "joint_temperature"),
        ("field", {"field": "joint_voltage", "joint": 7, "value": -1}, "joint_voltage"),
        ("field", {"field": "err", "value": 4097, "count": 300}, "err"),
        ("missing", {"field": "joint_err_code"}, "joint_err_code"),
    ],
)
def test_field_that_cannot_be_true_makes_the_arm_hold_and_is_named(
    rig, controller, fault: str, arguments: dict[str, object], word: str
) -> None:
    if arguments["field"] == "err":
        arguments = arguments | {"value": 70000}  # no code, so no fault either
    controller.control.fault(fault, **arguments)
    assert rig.wait_for_state("no_feedback")
    assert rig.wait_for(lambda: word in rig.status.reason), rig.status.reason
    seen = len(rig.received)
    assert rig.wait_for(lambda: rig.client.latest().sequence > 30)
    assert len(rig.received) <= seen + 1  # never published
    controller.control.fault("clear")
    assert rig.wait_for_state("connected")
    assert np.allclose(rig.client.latest().position, START, atol=2e-3)


@pytest.mark.parametrize("field", ["joint_position", "joint_speed"])
def test_field_that_freezes_while_others_live_makes_the_arm_hold(
    rig, controller, field: str
) -> None:
    rig.drive(lambda t: START + 3.0 * (wave(t) - START), 0.8)
    controller.control.fault("freeze_field", field=field)
    rig.drive(lambda t: START + 3.0 * (wave(t + 0.8) - START), 1.5)
    assert "no_feedback" in [state for _, state in rig.states]
    told = rig.status.reason  # the controller's own answers, too, say where the arm is
    assert "is frozen" in told or "and pushes" in told or field == "joint_speed"
    controller.control.fault("clear")
    assert rig.wait_for(lambda: rig.client.link_error == "", 8.0)
    assert rig.driver.clear_errors() == ""  # the arm stands where the value froze
    assert rig.wait_for_state("connected"), rig.status
    assert errors(controller) == ([], [0] * 7)


def test_sensor_that_fails_alone_gives_no_wrench_and_the_arm_goes_on(rig, controller) -> None:
    controller.control.fault("field", field="zero_force")
    assert rig.wait_for(lambda: rig.client.latest().wrench is None)
    assert "zero_force[0] is nan N" in rig.client.health()["force sensor"]
    refusals = rig.drive(wave, 0.5)
    assert refusals[-1] == ""
    assert "no_feedback" not in [state for _, state in rig.states]


def move_foreign(controller, joint: int, distance: float, speed: float) -> None:
    """Another program streams targets that move one joint [rad, rad/s]."""
    with socket.create_connection((controller.config.ip, 8080)) as other:
        start, began = np.array(controller.control.status()["setpoint"]), time.monotonic()
        for _ in FixedRateLoop(100.0, threading.Event()):
            moved = min(speed * (time.monotonic() - began), distance)
            degrees = np.degrees(start + moved * np.eye(7)[joint]) * 1000.0
            frame = {"command": "movej_canfd", "joint": [round(q) for q in degrees]}
            other.sendall(json.dumps(frame | {"follow": True}).encode() + b"\r\n")
            if moved == distance:
                return


def test_arm_that_another_program_moved_slowly_starts_where_it_stands(rig, controller) -> None:
    rig.drive(wave, 0.3)
    assert rig.wait_for_state("connected")
    silence(rig, 1.0)  # the arm's own last motion is over
    since = time.monotonic()
    move_foreign(controller, 0, 0.1, 0.03)
    silence(rig, 1.0)
    rig.driver.enable()  # needed where a busy machine made the motion look fast
    assert rig.wait_for_state("connected")
    here = rig.client.latest().position
    assert abs(here[0] - wave(0.3)[0]) > 0.05
    rig.be_silent()
    refusals = rig.drive(lambda t: here + 0.05 * (1 - np.cos(2.0 * t)), 0.5)
    assert refusals[-1] == ""
    assert largest_step(controller, since) < 0.015


def test_push_whose_joints_freeze_while_a_hand_moves_the_arm_ends_the_link(
    rig, controller
) -> None:
    assert rig.wait_for_state("connected")
    for field in ("joint_position", "joint_speed"):
        controller.control.fault("freeze_field", field=field)
    move_foreign(controller, 0, 0.1, 0.2)
    assert rig.wait_for_state("disconnected", 8.0)
    assert "for joint 1 and pushes" in rig.status.reason and "bound 1:" in rig.status.reason
    frames = controller.control.status()["frames"]
    assert rig.command(START) != ""
    controller.control.fault("clear")
    assert rig.wait_for_state("connected", 8.0)
    assert controller.control.status()["frames"] == frames


def test_push_in_other_units_is_no_link(controller, make_rig) -> None:
    controller.control.fault("field", field="joint_position", joint=4, value=114.6)  # degrees
    rig = make_rig(arm_config(controller.config))
    assert rig.wait_for(lambda: "for joint 4 and pushes 0.1" in rig.client.link_error)
    controller.control.fault("clear")
    assert rig.wait_for_state("connected", 8.0)


class BlockedPlant:
    """An ideal arm whose joint 1 meets an obstacle."""

    def __init__(self) -> None:
        self._arm = IdealPlant(START)

    def read(self) -> Measurement:
        free = self._arm.read()
        blocked = free.q[0] > WALL
        q, qd = free.q.copy(), free.qd.copy()
        q[0], qd[0] = min(q[0], WALL), 0.0 if blocked else qd[0]
        # As on a real arm, the encoder tells pressure in its last digits.
        q[0] += 1e-3 * (free.q[0] - WALL) if blocked else 0.0
        return Measurement(q, qd, free.torque, free.wrench)

    def write_target(self, q: np.ndarray) -> None:
        self._arm.write_target(q)

    def close(self) -> None:
        pass


@pytest.fixture
def blocked(address) -> Iterator[RunningController]:
    """A controller whose arm meets an obstacle."""
    server = ControllerServer(address, BlockedPlant())
    thread = threading.Thread(target=server.run)
    thread.start()
    control = EmulatorControl(address.control_path)
    control.wait_until_up(deadline_s=5.0)
    yield RunningController(address, control)
    server.stop()
    thread.join(5.0)


@pytest.mark.parametrize("interruption", ["pause", "stop", "estop", "collision", "disabled"])
def test_arm_pressed_against_an_obstacle_resumes_without_a_jump(
    make_rig, blocked, interruption: str
) -> None:
    rig = make_rig(arm_config(blocked.config))
    assert rig.wait_for_state("connected")
    press = START + 0.12 * np.eye(7)[0]

    def is_pressed() -> bool:  # a hiccup of a busy machine lets go of the obstacle
        rig.drive(lambda t: START + min(t, 1.0) * (press - START), 1.4)
        return blocked.control.status()["setpoint"][0] - WALL > 0.03

    def hiccups() -> str:
        return rig.client.health().get("stops by the link", "")

    assert is_pressed() or is_pressed()
    before = hiccups()
    if interruption == "stop":
        assert rig.driver.stop("test")
    elif interruption == "estop":
        assert rig.driver.estop("test")
        assert rig.wait_for_state("stopped")
        rig.driver.estop_reset()
    elif interruption == "collision":
        blocked.control.fault("collision")
        assert rig.wait_for_state("fault")
        assert rig.driver.clear_errors() == ""
    elif interruption == "disabled":
        blocked.control.fault("disable_joint", joint=2)
        assert rig.wait_for_state("not_ready")
        assert rig.driver.clear_errors() == ""
        assert rig.wait_for(lambda: rig.client.latest().obstacle == "")
    else:
        assert rig.wait_for_state("connected")
    if interruption != "pause":
        assert rig.wait_for(lambda: rig.driver.enable() == "")
        assert rig.wait_for_state("connected")
    # A set point of the stream's own stays; after a stop of the device it lets go of the obstacle.
    lead = abs(blocked.control.status()["setpoint"][0] - WALL)
    if interruption not in ("pause", "stop"):
        assert lead < 2e-3
    else:
        assert lead > 0.03 or hiccups() != before
    rig.be_silent()  # of the commander, as its commands went on through the stop
    enabled_at = time.monotonic()
    refusals = rig.drive(lambda t: START, 1.5)
    if refusals[-1] and hiccups() != before:  # a busy machine stopped the arm once more
        rig.be_silent()
        refusals = rig.drive(lambda t: START, 1.5)
    assert refusals[-1] == ""
    assert errors(blocked) == ([], [0] * 7)
    assert largest_step(blocked, enabled_at) < 0.03
    assert rig.wait_for(lambda: np.allclose(rig.client.latest().position, START, atol=5e-3))
