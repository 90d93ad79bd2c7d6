"""`ate replay` on a driver node of the real kind, whose arm follows at once."""

import json
import threading
import time

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import SafetyError
from ate_teleop.episode_replay.command import EpisodeReplayConfig, replay
from training.data.episode_file import Episode, write_episode

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

CELL = load_cell(None, "sim")
HOME = np.array(CELL.arms["left"].home)
OFFSET = np.array([0.05, 0, 0, 0, 0, 0, 0])


def write(path, seconds=1.5, turn=0.15):
    """An episode in which the left arm starts beside home and turns its first joint."""
    times = np.arange(0.0, seconds, 0.05)
    share = 0.5 - 0.5 * np.cos(np.pi * np.clip(times / (seconds - 0.3), 0.0, 1.0))
    state = np.zeros((len(times), 16), np.float32)
    for side in (0, 8):
        state[:, side : side + 7] = HOME + OFFSET
        state[:, side] += turn * share
        state[:, side + 7] = np.where(times < 0.6, 1.0, 0.25)
    action = np.concatenate([state[1:], state[-1:]])
    episode = Episode(
        state=state, velocity=np.zeros((len(times), 14), np.float32),
        wrench=np.zeros((len(times), 12), np.float32), action=action,
        timestamps_ns=(1_700_000_000 * 10**9 + np.arange(len(times)) * 50_000_000), cell=CELL,
    )  # fmt: skip
    write_episode(path, episode)
    return path


class Surroundings(threading.Thread):
    """What else a cell has: a gripper that follows, an operator, the scene, all from one node."""

    def __init__(self, peer):
        from sensor_msgs.msg import JointState, Joy
        from std_msgs.msg import String

        from ate_core.nodes.estop import REQUEST_QOS, REQUEST_TOPIC
        from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS

        super().__init__(daemon=True)
        self.peer, self.ended, node = peer, threading.Event(), peer.node
        self.state, self.joy, self.text = JointState, Joy, String
        self.sent, self.openings, self.buttons = [], [], [0] * 4
        self.during = lambda: None
        make = node.create_publisher
        self.gripper = make(JointState, "/left/gripper/joint_states", DEFAULT_QOS)
        self.status = make(String, "/left/gripper/status", LATCHED_QOS)
        self.joys = make(Joy, "/left/operator/joy", DEFAULT_QOS)
        self.stops = make(String, REQUEST_TOPIC, REQUEST_QOS)
        make(String, "/scene/info", LATCHED_QOS).publish(String(data="{}"))
        subscribe = node.create_subscription
        subscribe(JointState, "/left/arm/joint_command", self.sent.append, COMMAND_QOS)
        subscribe(JointState, "/left/gripper/command", self.openings.append, COMMAND_QOS)

    def run(self):
        due = 0.0
        while not self.ended.is_set():
            self.peer.executor.spin_once(timeout_sec=0.01)
            if time.monotonic() < due:
                continue
            due = time.monotonic() + 0.05
            opening = self.openings[-1].position[0] if self.openings else 0.0
            commander = self.openings[-1].header.frame_id.partition("#")[0] if opening else ""
            status = {"state": "tracking", "reason": "", "commander": commander}
            self.status.publish(self.text(data=json.dumps(status)))
            state = self.state(name=["left_gripper"], position=[opening])
            state.header.stamp = self.peer.node.get_clock().now().to_msg()
            self.gripper.publish(state)
            self.joys.publish(self.joy(axes=[0.0, 0.0], buttons=self.buttons))
            if self.turned() > 0.05:
                self.during()

    def turned(self):
        """How far the replay has sent the first joint from where the episode starts [rad]."""
        ours = [one for one in self.sent[-1:] if one.header.frame_id.startswith("replay")]
        return ours[0].position[0] - (HOME + OFFSET)[0] if ours else 0.0


@pytest.fixture
def around(node, peer):
    thread = Surroundings(peer)
    thread.start()
    yield thread
    thread.ended.set()
    thread.join()


def play(path, **changes):
    return replay(EpisodeReplayConfig(episode=path, arms="left", **changes))


def test_an_episode_is_approached_and_played_through_the_filter_as_its_own_commander(
    around, node, tmp_path, capsys
):
    code = play(write(tmp_path / "episode.hdf5"), json=True)
    report = json.loads(capsys.readouterr().out)
    assert not report["problems"] and code == 0, report
    assert report["arms"]["left"]["tool_max_mm"] < 30.0
    assert report["arms"]["left"]["samples"] > 10
    assert report["grippers"]["left"]["samples"] > 10
    assert report["devices"]["left arm"] == {"holds": 0, "refusals": []}
    assert {one.header.frame_id.partition("#")[0] for one in around.sent} == {"replay"}
    first, last = around.sent[0].position, around.sent[-1].position
    assert np.allclose(first, HOME + OFFSET, atol=1e-3)  # the way there is the driver's
    assert np.allclose(node._backend.q[0], HOME[0] + OFFSET[0] + 0.15, atol=0.02)
    assert last[0] == pytest.approx(HOME[0] + OFFSET[0] + 0.15, abs=1e-3)
    ratios = [one.position[0] for one in around.openings]
    assert ratios[0] == 1.0 and ratios[-1] == 0.25


@pytest.mark.parametrize("what", ["button", "stop"])
def test_whatever_an_operator_does_ends_a_replay_in_a_hold(around, node, tmp_path, capsys, what):
    def press():
        if what == "button":
            around.buttons = [0, 1, 0, 0]
        else:
            around.stops.publish(around.text(data="somebody shouted"))

    around.during = press
    assert play(write(tmp_path / "episode.hdf5", seconds=3.0, turn=0.6)) == 1
    told = capsys.readouterr().out
    words = {"button": "left operator pressed a button", "stop": "somebody shouted"}
    assert f"FAIL: {'ended by an operator: the ' if what == 'button' else ''}" in told
    assert words[what] in told
    assert abs(node._backend.q[0] - HOME[0]) < 0.4  # far from the end of the way


def test_an_arm_that_another_commander_holds_is_refused(around, peer, node, tmp_path):
    from ate_core.nodes.qos import COMMAND_QOS

    teleop = peer.node.create_publisher(around.state, "/left/arm/joint_command", COMMAND_QOS)
    stop = threading.Event()

    def drive():
        while not stop.wait(0.03):
            message = around.state(name=list(node._arm.joint_names), position=HOME.tolist())
            message.header.stamp = peer.node.get_clock().now().to_msg()
            message.header.frame_id = "teleop#1"
            teleop.publish(message)

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        deadline = time.monotonic() + 10.0
        while not (peer.statuses and peer.statuses[-1]["commander"] == "teleop"):
            assert time.monotonic() < deadline
            stop.wait(0.02)
        with pytest.raises(SafetyError, match="left arm is held by teleop"):
            play(write(tmp_path / "episode.hdf5"))
    finally:
        stop.set()
        thread.join()
