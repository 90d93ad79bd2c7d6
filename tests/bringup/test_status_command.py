"""`ate status`: what a person reads of a running cell, and the exit code."""

import itertools
import json
import threading

import pytest

from ate_bringup.cell_state import CellState, screen
from ate_bringup.status_command import StatusConfig
from ate_core.errors import UsageError


def healthy():
    arm = {"state": "connected", "reason": "", "commander": ""}
    return CellState(
        estop={"stopped": False},
        arms={"left": arm, "right": dict(arm, state="tracking", commander="teleop")},
        grippers={"left": {"state": "connected"}},
        operators={"left": {"clutch": "released", "reason": ""}},
        episode={
            "state": "idle",
            "message": "ready",
            "kept": 3,
            "discarded": 1,
            "output": "/data/bags",
        },
        rates={"left_arm": 100.2, "camera overhead": 14.9},
        devices=("left arm", "right arm", "left gripper"),
    )


def test_the_screen_shows_arms_stop_operators_recording_and_rates():
    text = screen(healthy())
    for line in (
        "emergency stop  free",
        "left arm        connected  100 Hz",
        "right arm       tracking  teleop",
        "left operator   clutch released",
        "camera overhead alive  15 Hz",
        "recording       idle  ready  3 kept, 1 discarded",
        "in /data/bags",
        "all is well",
    ):
        assert line in text


def test_devices_of_operators_and_a_folder_that_takes_no_episode_need_attention():
    state = healthy()
    state.operators = {
        "left": {"joycon": True, "headset_trouble": "headset 10.0.0.1:12345 does not answer"},
        "right": {"joycon": False, "devices": ["headset", "Joy-Con x: not found, pair it"]},
    }
    state.operators["left"]["battery_low"] = True
    state.episode = dict(state.episode, trouble="/data/bags cannot be written")
    assert state.attention() == [
        "left operator: headset 10.0.0.1:12345 does not answer",
        "left operator: charge the Joy-Con: its battery is low",
        "right operator: Joy-Con x: not found, pair it",
        "recorder: /data/bags cannot be written",
    ]


def test_the_way_of_a_pose_is_told_as_a_whole_and_nothing_of_one_that_is_not():
    state = healthy()
    for strange in ({}, {"total": 3}, [1], None):
        state.operators["left"] = {"clutch": "engaged", "latency_ms": strange}
        assert "pose to command" not in screen(state)
    stages = {"wake": [0.1, 1.0], "total": [0.85, 4.2]}
    state.operators["left"] = {"clutch": "engaged", "latency_ms": stages}
    assert "clutch engaged  pose to command 0.85 ms, p99 4.2 ms" in screen(state)


def test_what_needs_attention_is_told_with_the_remedy():
    state = healthy()
    assert state.is_there and state.attention() == []
    state.arms["left"] = {"state": "fault", "reason": "joint 3 too hot"}
    state.episode = dict(state.episode, state="pending", message="episode_000004 waits")
    state.nodes = {"/left/arm_driver": "silent for 3 s"}
    assert state.attention() == [
        "left arm fault: joint 3 too hot",
        "episode_000004 waits; `ate episode keep|label|discard`",
        "/left/arm_driver: silent for 3 s",
    ]
    state.estop = {"stopped": True, "reason": "smoke"}
    assert "emergency stop: smoke; `ate stop --reset` ends it" in state.attention()
    assert not any("left arm" in sentence for sentence in state.attention()), "the stop says it"


def test_a_part_of_the_cell_that_is_not_heard_is_no_green_light():
    state = healthy()
    del state.arms["left"]
    state.rates = {"left_arm": 0.0, "camera left_wrist": 0.0, "camera overhead": 15.0}
    assert state.attention() == [
        "left arm: nothing is heard of it; does its driver run?",
        "camera left wrist: nothing is heard of it; does its driver run?",
    ]
    assert "all is well" not in screen(state)


@pytest.mark.parametrize("estop", [{}, {"stopped": "no"}])
def test_an_emergency_stop_that_nobody_tells_of_is_no_green_light(estop):
    state = healthy()
    state.estop = estop
    (told,) = state.attention()
    assert told.startswith("emergency stop unknown: its node does not run")
    assert "all is well" not in screen(state)


@pytest.mark.parametrize("kind", ["arm", "gripper"])
@pytest.mark.parametrize(
    "state", ["fault", "disconnected", "no_feedback", "stopped", "not_ready", "invented"]
)
def test_an_arm_or_gripper_that_does_not_follow_is_no_green_light(kind, state):
    cell = healthy()
    parts = cell.arms if kind == "arm" else cell.grippers
    parts["left"] = {"state": state, "reason": "unplugged"}
    assert cell.attention() == [f"left {kind} {state}: unplugged"]
    parts["left"] = {}
    assert cell.attention() == [f"left {kind} unheard: no reason given"]
    parts["left"] = {"state": "holding", "reason": "no fresh command"}
    assert cell.attention() == []


def test_a_slow_camera_and_a_policy_that_waits_need_attention():
    state = healthy()
    state.wanted = {"camera overhead": 30.0}
    state.rates["camera overhead"] = 3.0
    state.policy = {"state": "stuck", "reason": "no chunk for 2 s"}
    assert state.attention() == [
        "camera overhead: 3 Hz instead of 30 Hz: check cable and load",
        "policy stuck: no chunk for 2 s",
    ]
    state.rates["camera overhead"] = 29.1
    for well in ({"state": "taken_over", "reason": "left operator drives"}, {"state": "running"}):
        state.policy = well
        assert state.attention() == []


def test_a_cell_of_which_nothing_is_heard_is_not_there():
    assert not CellState(rates={"left_arm": 0.0}).is_there
    assert CellState(rates={"left_arm": 100.0}).is_there
    with pytest.raises(UsageError, match="need 1 to 60 s"):
        StatusConfig(seconds=0.1)


@pytest.mark.ros
def test_a_look_hears_states_and_measures_rates_by_their_stamps(empty_domain, monkeypatch):
    from sensor_msgs.msg import JointState
    from std_msgs.msg import String

    from ate_bringup.nodes import cell_look
    from ate_core.contract import load_cell
    from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS
    from ate_core.nodes.visitor import visit

    monkeypatch.setattr(cell_look, "LONGER", 0.0)  # the right arm is never heard
    with visit("cell") as cell:
        status = cell.node.create_publisher(String, "/left/arm/status", LATCHED_QOS)
        status.publish(String(data=json.dumps({"state": "connected"})))
        estop = cell.node.create_publisher(String, "/estop", LATCHED_QOS)
        estop.publish(String(data="[1"))  # bad JSON ends nothing
        joints = cell.node.create_publisher(JointState, "/left/arm/joint_states", DEFAULT_QOS)
        ended = threading.Event()

        def publish():
            for index in itertools.count():
                message = JointState()
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(
                    index * 20_000_000, 10**9
                )
                joints.publish(message)
                if ended.wait(0.005):
                    return

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            state, looks = CellState(), 0
            while not (state.arms and state.rates["left_arm"]) and looks < 10:
                state, looks = cell_look.look(load_cell(None), 1.0), looks + 1
        finally:
            ended.set()
            thread.join()
    assert state.arms["left"] == {"state": "connected"}
    assert state.estop == {}
    assert 0.0 < state.rates["left_arm"] <= 51.0, "50 Hz by the stamps, less what was lost"
    assert state.rates["right_arm"] == 0.0
