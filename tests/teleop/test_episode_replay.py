"""What a replayed episode sends, what it is refused for, what ends it and how it is judged."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import DeviceError, EpisodeError, UsageError
from ate_teleop.episode_replay.approach import ACCELERATION, SPEED, seconds_for, within_limits
from ate_teleop.episode_replay.command import EpisodeReplayConfig
from ate_teleop.episode_replay.deviation import deviation, opening_deviation
from ate_teleop.episode_replay.fitness import notes, require_fit
from ate_teleop.episode_replay.plan import plan_of
from ate_teleop.episode_replay.played_path import PathTime, check_path, played_path
from ate_teleop.episode_replay.recorded import RecordedEpisode, RecordedSide
from ate_teleop.episode_replay.report import Bounds
from ate_teleop.episode_replay.watch import CellWatch
from ate_teleop.stroke_comparison import JointPath

CELL = load_cell(hardware="sim")
ARM = CELL.arms["left"]
HOME = np.array(ARM.home)
TIMES = np.arange(0.0, 3.0, 0.01)


def way(times, turn=0.5):
    joints = np.tile(HOME, (len(times), 1))
    joints[:, 0] += turn * (0.5 - 0.5 * np.cos(np.pi * np.clip(times / 2.5, 0.0, 1.0)))
    return JointPath(times=times, joints=joints)


def side(**changes):
    opening = JointPath(times=np.array([0.0, 1.0]), joints=np.array([[1.0], [0.2]]))
    fields = {"measured": way(TIMES), "commands": way(TIMES), "opening": opening, **changes}
    return RecordedSide(**fields)


def test_commands_are_played_and_where_nobody_commanded_the_measured_joints():
    kept = (TIMES > 0.5) & ((TIMES < 1.0) | (TIMES > 2.0))
    commands = JointPath(times=TIMES[kept], joints=way(TIMES).joints[kept] + 0.01)
    path = played_path(side(commands=commands))
    assert np.all(np.diff(path.times) >= 0.0)
    ahead = path.at(np.array([0.2, 0.8, 1.5, 2.5])) - way(TIMES).at(np.array([0.2, 0.8, 1.5, 2.5]))
    assert ahead[:, 0] == pytest.approx([0.0, 0.01, 0.0, 0.01], abs=1e-3)
    nobody = side(commands=None)
    assert played_path(nobody) is nobody.measured


def test_a_way_that_no_arm_can_go_is_refused_by_joint_time_and_bound():
    check_path(CELL, "left", way(TIMES))
    jump = way(TIMES).joints.copy()
    jump[150:, 2] += 0.8
    with pytest.raises(
        EpisodeError, match=r"joint3 .*0\.80 rad on at once at 1\.50 s, bound 0\.35"
    ):
        check_path(CELL, "left", JointPath(times=TIMES, joints=jump))
    far = way(TIMES).joints.copy()
    far[:, 1] = 9.9
    with pytest.raises(EpisodeError, match=r"joint2 .*9\.90 rad.*limits"):
        check_path(CELL, "left", JointPath(times=TIMES, joints=far))
    with pytest.raises(EpisodeError, match=r"recorded for 0\.1 s; need 0\.5"):
        check_path(CELL, "left", JointPath(times=TIMES[:12], joints=way(TIMES).joints[:12]))
    with pytest.raises(EpisodeError, match=r"starts with .*bounds .* may not go there"):
        within_limits(ARM, 0.02, "left", np.asarray(ARM.joint_upper) + 0.05)


def test_a_plan_starts_at_the_first_posture_and_holds_each_opening():
    episode = RecordedEpisode(name="e", cell=CELL, sides={"left": side(), "right": side()})
    plan = plan_of(CELL, episode, ("left",))
    assert set(plan.ways) == set(plan.openings) == {"left"}
    for time, ratio in ((0.0, 1.0), (0.99, 1.0), (1.0, 0.2), (9.0, 0.2)):
        arms, openings = plan.at(time)
        assert openings["left"] == ratio
        assert arms["left"] == pytest.approx(way(TIMES).at(np.array([time]))[0], abs=1e-9)


def test_the_time_of_all_arms_waits_for_the_one_that_is_behind():
    clock = PathTime(10.0, 0.5, 0.25)
    assert clock.advance(11.0, 0.0) == pytest.approx(0.5)
    assert clock.advance(12.0, 0.3) == pytest.approx(0.5)
    assert clock.waiting == pytest.approx(1.0)
    assert clock.advance(13.0, 0.2) == pytest.approx(1.0)
    assert clock.waiting == 0.0 and clock.waited == pytest.approx(1.0)


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.4, 3.0])
def test_the_way_to_the_first_posture_is_slow(distance):
    seconds = seconds_for(distance, CELL.safety)
    assert seconds >= 1.0
    assert 1.5 * distance / seconds <= SPEED + 1e-9
    assert 6.0 * distance / seconds**2 <= ACCELERATION + 1e-9


def test_an_episode_of_another_cell_is_refused_by_what_differs():
    require_fit(CELL, CELL, ("left", "right"), "e")
    longer = replace(CELL, arms={**CELL.arms, "left": replace(ARM, tool_length=0.3)})
    with pytest.raises(EpisodeError, match=r"tool_length of the left arm was 0\.3, is 0\.16"):
        require_fit(longer, CELL, ("left",), "e")
    require_fit(longer, CELL, ("right",), "e")
    wide = replace(CELL.grippers["left"], stroke_m=0.2)
    other = replace(CELL, grippers={**CELL.grippers, "left": wide})
    with pytest.raises(EpisodeError, match="stroke_m of the left gripper"):
        require_fit(other, CELL, ("left",), "e")
    assert notes(CELL, CELL) == []
    assert "tick_rate" in notes(replace(CELL, tick_rate=10.0), CELL)[0]


def heard(now=0.0, **status):
    watch = CellWatch(("left",), ("left",))
    for device in watch.devices:
        watch.take_position(device, np.zeros(1), now)
        watch.take_status(device, {"state": "tracking", "commander": "replay", **status})
    return watch


def test_nothing_ends_a_replay_of_a_cell_that_follows():
    assert heard().trouble(0.1) == ""


def test_a_replay_does_not_start_where_another_one_moves_the_arms():
    assert heard().start_trouble(0.1).startswith("left arm is held by replay")
    assert heard(commander="").start_trouble(0.1) == ""


@pytest.mark.ros
def test_one_replay_drives_an_arm(node_environment):
    pytest.importorskip("rclpy")
    from ate_teleop.nodes.episode_player import episode_player

    with episode_player(CELL, ("left",)):
        with (
            pytest.raises(DeviceError, match="already uses replay on /left"),
            episode_player(CELL, ("left", "right")),
        ):
            pass
        with episode_player(CELL, ("right",)):
            pass


@pytest.mark.ros
def test_a_replay_and_an_operator_believe_no_measured_state_of_another_time(node_environment):
    pytest.importorskip("rclpy")
    from sensor_msgs.msg import JointState

    from ate_core.nodes.visitor import visit
    from ate_teleop.nodes.episode_player import EpisodePlayer
    from ate_teleop.nodes.operator_node import OperatorNode
    from ate_teleop.nodes.replay_watch import ReplayWatch

    names = CELL.arms["left"].joint_names
    arm = JointState(name=list(names), position=[0.1] * len(names))
    gripper = JointState(name=["left_gripper"], position=[0.5])
    with visit("bench") as visitor:
        node = visitor.node
        player, watch = (kind(CELL, ("left",), visitor) for kind in (EpisodePlayer, ReplayWatch))
        operator = SimpleNamespace(get_clock=node.get_clock, _gripper_joint=("left_gripper",))
        takes = {
            partial(player._joints, "left"): arm,
            partial(player._opening, "left"): gripper,
            partial(watch._take_joints, "left", names): arm,
            partial(OperatorNode._take_opening, operator): gripper,
        }
        for take, message in takes.items():
            message.header.stamp = node.get_clock().now().to_msg()
            take(message)
            message.header.stamp.sec -= 2
            with pytest.raises(ValueError, match=r"stamped 2\.0 s ago, bound 1 s"):
                take(message)
        assert len(player.measured["left"]) == len(player.openings["left"]) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": "stopped", "reason": "arm/stop"}, "left arm is stopped arm/stop"),
        ({"state": "fault", "reason": "joint 3"}, "left arm is fault joint 3"),
        ({"state": "homing"}, "left arm is homing"),
        ({"commander": "teleop"}, "left arm is held by teleop"),
        ({"refused": "teleop: replay holds the arm"}, "ended by an operator: teleop wanted"),
    ],
)
def test_a_replay_ends_by_what_an_arm_tells(change, told):
    watch = heard()
    watch.arm()
    arm = watch.arms["left"]
    watch.take_status(arm, {**arm.status, **change})
    assert watch.trouble(0.1).startswith(told)


def test_a_replay_ends_by_a_stop_by_silence_and_by_what_operators_do():
    watch = heard()
    watch.stop = "smoke"
    assert "emergency stop: smoke" in watch.trouble(0.1)
    assert "nothing was heard of where the left arm is" in heard().trouble(0.5)
    assert heard().trouble(0.3) == ""
    watch = heard()
    watch.take_buttons("right", [0, 1])
    watch.take_operator("left", {"clutch": "engaged", "hardware": "sim"})
    watch.arm()  # what was pressed before is no wish to end it
    watch.take_buttons("right", [0, 1])
    assert watch.trouble(0.1) == "" and watch.hardware == "sim"
    watch.take_buttons("right", [1, 1])
    assert watch.trouble(0.1) == "ended by an operator: the right operator pressed a button"
    watch = heard()
    watch.arm()
    watch.take_operator("left", {"clutch": "engaging"})
    assert "left operator closed the clutch" in watch.trouble(0.1)


@pytest.mark.parametrize(
    ("hold", "held", "act"),
    [
        ({"frozen": True}, "froze the arm", "froze the arm"),
        ({"calibrating": True}, "is being calibrated", "began a calibration"),
        ({"clutch": "blocked"}, "holds the clutch", "closed the clutch"),
    ],
)
def test_an_arm_that_its_operator_holds_is_not_replayed(hold, held, act):
    released = {"clutch": "released", "frozen": False, "calibrating": False}
    watch = heard(commander="")
    watch.take_operator("right", {**released, **hold})
    assert watch.start_trouble(0.1) == f"the right operator {held}"
    watch.take_operator("right", released)
    assert watch.start_trouble(0.1) == ""
    watch.arm()
    watch.take_operator("right", {**released, **hold})
    assert watch.trouble(0.1) == f"ended by an operator: the right operator {act}"


def test_a_press_that_is_over_before_a_replay_looks_ends_it():
    watch = heard()
    watch.take_operator("left", {"clutch": "released", "presses": 2})
    watch.arm()
    watch.take_operator("left", {"clutch": "released", "presses": 2})
    assert watch.trouble(0.1) == ""
    watch.take_operator("left", {"clutch": "released", "presses": 3})
    assert "ended by an operator: the left operator took the arm" in watch.trouble(0.1)


def test_holds_and_refusals_of_the_replay_are_counted_while_it_plays():
    watch = heard()
    arm = watch.arms["left"]
    watch.arm()
    for state, refused in (("holding", "replay: too far"), ("tracking", ""), ("holding", "")):
        watch.take_status(arm, {"state": state, "commander": "replay", "refused": refused})
    watch.disarm()
    watch.take_status(arm, {"state": "tracking", "commander": "replay"})
    watch.take_status(arm, {"state": "holding", "commander": "replay"})
    assert arm.holds == 2 and arm.refusals == ["too far"]


def test_the_same_way_later_is_no_deviation_and_another_way_is_one():
    times = np.arange(0.1, 2.9, 0.011)
    late = JointPath(times=times, joints=way(times - 0.05).joints)
    one = deviation(ARM, way(TIMES), late, 0.5)
    assert one.lag_s == pytest.approx(0.1, abs=0.011)  # in seconds of the replay
    assert one.tool_max_mm < 3.0 and one.joint_max < 0.01
    aside = JointPath(times=times, joints=way(times).joints + np.eye(7)[1] * 0.05)
    other = deviation(ARM, way(TIMES), aside, 1.0)
    assert other.tool_rms_mm > 8.0 and other.joint_max == pytest.approx(0.05, rel=0.2)
    bounds = Bounds(largest_mm=5.0, rms_mm=4.0, largest_deg=1.0, opening=0.2)
    assert bounds.problem("left", one) == ""
    assert "another way" in bounds.problem("left", other)


def test_a_wrist_that_turns_where_its_tool_stays_is_another_way():
    times = np.arange(0.1, 2.9, 0.011)
    turned = JointPath(times=times, joints=way(times).joints + np.eye(7)[6] * np.radians(8.0))
    one = deviation(ARM, way(TIMES), turned, 1.0)
    assert one.tool_max_mm < 0.5 and one.tool_max_deg == pytest.approx(8.0, abs=0.2)
    bounds = Bounds(largest_mm=30.0, rms_mm=10.0, largest_deg=5.0, opening=0.2)
    assert "and 5 deg" in bounds.problem("left", one)
    spin = JointPath(times=TIMES, joints=HOME + np.eye(7)[6] * 0.4 * TIMES[:, None])
    late = JointPath(times=times, joints=spin.at(times - 0.05))  # a tool that turns in place
    assert deviation(ARM, spin, late, 1.0).tool_max_deg < 0.5


def opening(times, least=0.25):
    """Open, and closed from 1.0 to 2.0 s."""
    ratio = np.interp(times, [0.9, 1.1, 1.9, 2.1], [1.0, least, least, 1.0])
    return JointPath(times=times, joints=ratio[:, None])


def test_a_gripper_that_opens_later_is_no_deviation_and_one_that_closes_further_is_told():
    times = np.arange(0.1, 2.9, 0.02)
    late = JointPath(times=times, joints=opening(times - 0.1).joints)
    one = opening_deviation(opening(TIMES), late, 0.5)
    assert one.lag_s == pytest.approx(0.2, abs=0.021) and one.largest < 0.02
    further = opening_deviation(opening(TIMES), opening(times, least=0.0), 1.0)
    assert further.largest == pytest.approx(0.25, abs=0.01) and further.rms > 0.1
    bounds = Bounds(largest_mm=5.0, rms_mm=4.0, largest_deg=1.0, opening=0.2)
    assert bounds.gripper_problem("left", one) == ""
    assert "0.25 of its stroke" in bounds.gripper_problem("left", further)


def test_numbers_that_make_no_replay_are_refused():
    for wrong in ({"speed": 0.0}, {"speed": 1.5}, {"speed": float("nan")}, {"bound_mm": 0.0}):
        with pytest.raises(UsageError, match="need"):
            EpisodeReplayConfig(episode="", **wrong)
