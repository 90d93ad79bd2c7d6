"""What the gripper driver does on stops, faults and lost links, without a line."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ate_core.lease import Mark
from omnipicker_driver.driver import ARM, ESTOP, DriverConfig, GripperDriver
from omnipicker_driver.gate import GateConfig, GripperCommand, Verdict
from omnipicker_driver.grasp import Grasp, ObjectState
from omnipicker_driver.protocol import MAX_SPEED, Motion, Report
from omnipicker_driver.state import GripperState, holding_target, seen_at
from omnipicker_driver.status import GripperStatus, health_of

STALE = 0.1


class Fingers:
    """A port whose state the test sets; it reports at every moment unless told otherwise."""

    def __init__(self) -> None:
        self.state = GripperState(connected=True, openings=1)

    def set_target(self, ratio: float) -> bool:
        """Take the target."""
        self.state = replace(self.state, target=ratio)
        return True

    def hold(self) -> None:
        """Take the target that holds."""
        self.state = replace(
            self.state, target=holding_target(self.state, self.state.received, 1.0)
        )


class Cell:
    """A driver with its fingers, a clock and a commander."""

    def __init__(self) -> None:
        self.fingers, self.now = Fingers(), 50.0
        gate = GateConfig(joint="left_gripper", stamp_max_age=0.1, command_timeout=0.1)
        config = DriverConfig(gate=gate, stale_after=STALE, stroke_m=0.12)
        self.driver = GripperDriver(config, self.fingers)
        self.report(position=0.5)
        self.fingers.set_target(0.5)
        self.driver.tick(self.now)
        self.driver.set_active(True)

    def report(self, seconds: float = 0.03, **values: object) -> GripperStatus:
        """Let time pass, then report."""
        self.now += seconds
        report = Report(**{"position": 0.5, **values})
        self.fingers.state = replace(
            self.fingers.state, report=report, received=self.now, seen=self.now
        )
        return self.driver.tick(self.now)

    def send(self, ratio: float, commander: str = "teleop") -> Verdict:
        """Command an opening, 30 ms after the last one."""
        self.report(**vars(self.fingers.state.report))
        command = GripperCommand(
            names=["left_gripper"], positions=[ratio], commander=commander, source=commander,
            mark=Mark(made_ns=round(self.now * 1e9)), age=0.0,
        )  # fmt: skip
        return self.driver.command(command, self.now)

    @property
    def target(self) -> float | None:
        """Opening that the polls repeat."""
        return self.fingers.state.target

    def status(self) -> GripperStatus:
        """What is told now."""
        return self.driver.tick(self.now)


@pytest.fixture
def cell() -> Cell:
    return Cell()


def stop_by(cell: Cell, cause: str) -> None:
    if cause == ESTOP:
        cell.driver.stop(ESTOP, "pressed")
    else:
        cell.driver.see_arm("stopped", "stopped by service")


def release_by(cell: Cell, cause: str) -> None:
    if cause == ESTOP:
        cell.driver.release(ESTOP)
    else:
        cell.driver.see_arm("connected", "")


def test_commander_is_followed_and_told(cell: Cell) -> None:
    assert cell.send(0.2).accepted
    assert cell.target == 0.2
    status = cell.status()
    assert (status.state, status.commander, status.reason) == ("tracking", "teleop", "")
    cell.report(0.2)
    assert cell.status().state == "holding"
    cell.report(0.6)
    assert (cell.status().state, cell.status().commander) == ("connected", "")
    assert cell.target == 0.2, "silence drops nothing"


@pytest.mark.parametrize("cause", [ESTOP, ARM])
def test_stop_holds_the_grip_and_refuses_until_released(cell: Cell, cause: str) -> None:
    assert cell.send(0.0).accepted
    cell.report(position=0.3, motion=Motion.BLOCKED, force=1.0)
    stop_by(cell, cause)
    refused = [cell.send(1.0) for _ in range(10)]
    assert not any(verdict.accepted for verdict in refused)
    assert refused[0].reason.startswith("stopped: ")
    assert cell.target == 0.0, "it goes on pressing"
    assert cell.status().state == "stopped"
    release_by(cell, cause)
    assert not any(cell.send(1.0).accepted for _ in range(10)), "the stream kept on"
    cell.report(0.6, position=0.3, motion=Motion.BLOCKED, force=1.0)
    assert cell.send(1.0).accepted


def test_stop_never_opens_the_fingers_and_ends_their_motion(cell: Cell) -> None:
    for goal in (0.0, 1.0):
        assert cell.send(goal).accepted
        cell.report(position=0.5, speed=1.0, motion=Motion.MOVING)
        cell.driver.stop(ESTOP, "pressed")
        assert cell.target is not None
        assert 0.4 < cell.target < 0.55
        cell.driver.release(ESTOP)
        cell.report(0.6, position=0.5)
        if goal == 0.0:
            assert cell.target < 0.5


SEEN = 50.0
"""When the fingers of these states were seen [s]."""


def closing(**report: object) -> GripperState:
    report = Report(**{"position": 0.8, "speed": 1.0, "motion": Motion.MOVING, **report})
    return GripperState(connected=True, report=report, received=SEEN, seen=SEEN, target=0.0)


@pytest.mark.parametrize("force", [0.0, 0.02, 0.06, 0.3])
def test_the_torque_that_moves_the_fingers_is_no_object(force: float) -> None:
    target = holding_target(closing(force=force), SEEN, 1.0)
    assert 0.7 < target < 0.8


def test_fingers_that_push_and_stand_go_on_pressing() -> None:
    assert holding_target(closing(force=0.2, speed=0.0), SEEN, 1.0) == 0.0
    assert holding_target(closing(motion=Motion.BLOCKED, speed=0.0), SEEN, 1.0) == 0.0


@pytest.mark.parametrize("speed", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("doubt", ["", "state code 77 is unknown"])
@pytest.mark.parametrize("blind", [0.02, 0.08, 0.15, 0.4, 3.0])
def test_a_stop_opens_no_fingers_that_closed_unseen(speed, doubt, blind) -> None:
    state = replace(closing(speed=speed), doubt=doubt)
    unseen = MAX_SPEED * speed * blind
    assert holding_target(state, SEEN + blind, speed) <= max(0.8 - unseen, 0.0)


def test_a_stop_takes_back_no_opening_and_adds_none() -> None:
    state = replace(closing(), target=1.0)
    for blind in (0.0, 0.4, 3.0):
        assert 0.8 <= holding_target(state, SEEN + blind, 1.0) < 0.85


def test_reports_that_repeat_a_moving_position_are_not_seen_again() -> None:
    state, moving = closing(), Report(position=0.8, speed=1.0, motion=Motion.MOVING)
    assert seen_at(moving, state, SEEN + 1.0) == SEEN
    assert seen_at(replace(moving, position=0.79), state, SEEN + 1.0) == SEEN + 1.0
    for motion in (Motion.REACHED, Motion.BLOCKED, Motion.LOST_OBJECT):
        assert seen_at(replace(moving, motion=motion), state, SEEN + 1.0) == SEEN + 1.0


def test_stop_of_an_arm_outlasts_its_lost_link_and_a_fault_hides_none(cell: Cell) -> None:
    for state in ("stopped", "disconnected", "no_feedback", "fault", "not_ready"):
        cell.driver.see_arm(state, "x")
        assert not cell.send(0.9).accepted, state
    cell.driver.see_arm("connected", "")
    cell.report(0.6)
    assert cell.send(0.9).accepted


def test_arm_that_is_not_there_stops_no_gripper(cell: Cell) -> None:
    cell.driver.see_arm("disconnected", "no controller")
    assert cell.send(0.9).accepted


def test_fault_holds_and_its_end_moves_nothing(cell: Cell) -> None:
    assert cell.send(0.0).accepted
    status = cell.report(position=0.4, fault=1, motion=Motion.MOVING, speed=0.5)
    assert (status.state, status.fault) == ("fault", 1)
    assert status.reason == "gripper fault 1: too hot: let it cool, and grip with less force"
    assert cell.target is not None
    assert 0.3 < cell.target < 0.4
    assert not cell.send(0.0).accepted
    status = cell.report(position=0.4)
    assert not any(cell.send(0.0).accepted for _ in range(10))
    cell.report(0.6, position=0.4)
    assert cell.send(0.0).accepted


def test_inactive_driver_refuses_and_activation_moves_nothing(cell: Cell) -> None:
    cell.driver.set_active(False)
    cell.driver.explain_inactive("inactive: checked")
    assert cell.send(0.0).reason == "inactive: checked"
    assert cell.status().state == "not_ready"
    cell.driver.set_active(True)
    assert not cell.send(0.0).accepted, "the stream kept on"
    assert cell.send(0.5).accepted, "it asks for nothing new"
    assert cell.send(0.0).accepted


def test_new_link_follows_no_stream_that_went_on(cell: Cell) -> None:
    cell.send(0.0)
    cell.fingers.state = replace(cell.fingers.state, connected=False, error="cut", target=None)
    assert cell.send(0.0).reason == "cut"
    assert cell.status().state == "disconnected"
    cell.fingers.state = replace(
        cell.fingers.state, connected=True, error="", openings=2, target=0.5
    )
    assert not cell.send(0.0).accepted
    assert cell.target == 0.5
    cell.report(0.6)
    assert cell.send(0.0).accepted


def test_long_loss_of_reports_lets_nobody_go_on(cell: Cell) -> None:
    assert cell.send(0.2).accepted
    cell.now += STALE
    for _ in range(40):
        cell.now += 0.03
        command = GripperCommand(
            names=["left_gripper"], positions=[0.9], commander="teleop", source="teleop", age=0.0
        )
        assert not cell.driver.command(command, cell.now).accepted
    assert "kept sending through a loss of the gripper's reports" in cell.send(0.9).reason
    assert cell.target == 0.2
    assert cell.send(0.2).accepted, "it asks for nothing new"


def test_doubted_reports_are_named_and_commands_wait(cell: Cell) -> None:
    cell.fingers.state = replace(cell.fingers.state, doubt="position jumped from 0.5 to 0.9")
    cell.now += 2 * STALE
    status = cell.status()
    assert status.state == "no_feedback"
    assert "cannot be true: position jumped" in status.reason
    assert cell.driver.problem(cell.now) == status.reason


def test_fingers_that_do_not_move_may_be_commanded_elsewhere(cell: Cell) -> None:
    frozen = {"doubt": "position stays at 0.50", "is_frozen": True}
    cell.fingers.state = replace(cell.fingers.state, **frozen)
    cell.now += 2 * STALE
    assert cell.status().state == "no_feedback"
    assert cell.send(1.0).accepted


def test_status_tells_the_object_in_metres_and_newtons(cell: Cell) -> None:
    cell.fingers.state = replace(
        cell.fingers.state, grasp=Grasp(object=ObjectState.HELD, opening=0.5, force=0.5)
    )
    status = cell.status()
    assert (status.holding, status.object) == (True, "held")
    assert (status.object_width, status.object_force) == (0.06, 15.0)


def test_health_names_what_is_wrong(cell: Cell) -> None:
    def level(**change: object) -> tuple[str, str]:
        cell.fingers.state = replace(cell.fingers.state, **change)
        health = health_of(cell.status(), cell.fingers.state, cell.now, refused=0)
        return health.level, health.message

    assert level() == ("ok", "connected")
    lost = Grasp(object=ObjectState.LOST, opening=0.5)
    assert level(grasp=lost)[0] == "warn"
    cell.now += 2 * STALE
    assert level()[0] == "stale"
    assert "another device answers, with id 2" in level(strangers=(2,))[1]
    assert level(connected=False, error="pulled out") == ("error", "disconnected: pulled out")


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_wall_clock_that_is_set_costs_one_command_and_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    """Through the node's own callback: 30 commands a second, the clock is set before one."""
    pytest.importorskip("rclpy")
    from rclpy.time import Time
    from sensor_msgs.msg import JointState

    from ate_core.nodes.command_source import CommandSources
    from omnipicker_driver.nodes import gripper_node

    cell, late = Cell(), 0.004
    set_at = cell.now + 15 * 0.03 - late / 2  # while the fifteenth is on its way

    def wall_ns(at: float) -> int:
        return round((1.7e9 + at + (by if at >= set_at else 0.0)) * 1e9)

    clock = SimpleNamespace(now=lambda: Time(nanoseconds=wall_ns(cell.now)))
    node = SimpleNamespace(
        get_clock=lambda: clock,
        is_active=False,
        _driver=cell.driver,
        _sources=CommandSources(lambda: ["a"]),
    )
    monkeypatch.setattr(gripper_node, "time", SimpleNamespace(monotonic=lambda: cell.now))
    targets = []
    for number in range(1, 61):
        ratio = 0.5 + 0.005 * number
        cell.report(**vars(cell.fingers.state.report))
        made = wall_ns(cell.now - late)
        message = JointState(name=["left_gripper"], position=[ratio])
        message.header.frame_id = "teleop#12345678"
        message.header.stamp = Time(nanoseconds=made).to_msg()
        info = {"publication_sequence_number": number, "source_timestamp": made}
        gripper_node.GripperNode._take_command(node, message, info)
        targets.append(cell.fingers.state.target)
    assert cell.driver.refused == 1
    assert all(0.0 <= step < 0.011 for step in np.diff(targets))
    assert targets[-1] == pytest.approx(0.8)
