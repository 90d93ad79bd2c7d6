"""Two drivers whose devices' states are exchanged stop the cell, whoever drives the arms."""

import dataclasses

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from builtin_interfaces.msg import Duration  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from ate_core.contract import load_cell  # noqa: E402
from ate_core.nodes.qos import COMMAND_QOS, SENSOR_QOS  # noqa: E402

ARM = load_cell().arms["left"]
NAMES = ARM.joint_names
HOME = np.array(ARM.home)
OUT = np.eye(len(NAMES))[0]
"""Turns the arm at its base, away from the other one."""


@pytest.fixture
def arms(rig, peer):
    """The drivers of both arms, at rest at home."""
    both = {side: rig.start(arm=side, other_arm="required") for side in ("left", "right")}
    assert peer.spin_until(lambda: all(node.is_active for node in both.values()))
    assert peer.reaches("connected")
    return both


def exchange(arms) -> None:
    left, right = (node._backend for node in arms.values())
    left.latest, right.latest = right.latest, left.latest


def by_commands(peer) -> None:
    peer.drive(NAMES, lambda t: HOME + 0.3 * OUT * min(t, 1.0), 1.0)


def by_a_trajectory(peer) -> None:
    ways = peer.node.create_publisher(JointTrajectory, "/left/arm/joint_trajectory", COMMAND_QOS)
    assert peer.spin_until(lambda: ways.get_subscription_count() > 0)
    point = JointTrajectoryPoint(
        positions=(HOME + 0.3 * OUT).tolist(), time_from_start=Duration(sec=1)
    )
    ways.publish(JointTrajectory(joint_names=list(NAMES), points=[point]))


def by_the_way_home(peer) -> None:
    assert peer.call("/left/arm/home") == (True, "")


@pytest.mark.parametrize("drive", [by_commands, by_a_trajectory, by_the_way_home])
def test_whoever_drives_exchanged_arms_both_stop_and_the_words_name_them(arms, peer, drive):
    if drive is by_the_way_home:
        for node in arms.values():  # as somebody puts them elsewhere
            node._backend.q = HOME + 0.3 * OUT
        assert peer.reaches("no_feedback")
        for node in arms.values():
            assert not node._driver.enable()
        assert peer.reaches("connected")
    exchange(arms)
    start = {side: node._backend.q.copy() for side, node in arms.items()}
    drive(peer)

    def both_stopped() -> bool:
        return all(node._reports.status.state == "stopped" for node in arms.values())

    assert peer.spin_until(both_stopped), {s: n._reports.status for s, n in arms.items()}
    assert peer.spin_until(lambda: peer.statuses[-1]["state"] == "stopped"), peer.statuses[-1]
    told = peer.statuses[-1]["reason"]
    assert "the right arm does what the left one is told" in told
    assert "left and right are exchanged" in told
    for side, node in arms.items():
        assert np.abs(node._backend.q - start[side]).max() < 0.3, side


def test_an_arm_that_is_blocked_beside_one_that_moves_alike_stops_nothing(arms, peer):
    """The set point of the other driver tells that it obeys."""
    blocked = arms["left"]._backend
    latest = blocked.latest
    blocked.latest = lambda: _standing(latest())
    commands = peer.node.create_publisher(JointState, "/right/arm/joint_command", COMMAND_QOS)
    assert peer.spin_until(lambda: commands.get_subscription_count() > 0)
    points: list[JointState] = []
    peer.node.create_subscription(JointState, "/right/arm/set_point", points.append, SENSOR_QOS)
    right = load_cell().arms["right"].joint_names

    def path(t: float) -> np.ndarray:
        q = HOME + 0.3 * OUT * min(t, 1.0)
        message = JointState(name=list(right), position=q.tolist())
        message.header.stamp = peer.node.get_clock().now().to_msg()
        message.header.frame_id = "teleop"
        commands.publish(message)
        return q

    peer.drive(NAMES, path, 1.5)
    assert points
    assert not any(told["estop"] for told in peer.statuses)


def _standing(sample):
    """At home, with the noise of an encoder, which is not frozen."""
    noise = 1e-5 * (sample.sequence % 2)
    return dataclasses.replace(sample, position=HOME + noise, velocity=0 * HOME)


def test_set_points_of_another_time_say_nothing_of_what_an_arm_is_told(arms, peer):
    peer.drive(NAMES, lambda t: HOME + 0.05 * OUT * min(t, 1.0), 0.3)
    watch = arms["right"]._exchange
    assert "left" in watch._told
    message = JointState(name=list(NAMES), position=HOME.tolist())
    with pytest.raises(ValueError, match="is a recording played"):
        watch._take("left", serialize_message(message), 0)
