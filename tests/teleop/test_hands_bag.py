"""Hands out of a recorded episode: what its bag holds, in order, and what it does not, said."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ate_core.contract import load_cell
from ate_core.errors import EpisodeError
from ate_core.streams import INFO_TOPIC
from ate_teleop.calibrator import UNCALIBRATED
from ate_teleop.hands_bag import hands_of_bag, is_bag
from ate_teleop.replay_checks import check_cell
from operator_devices.hand_pose import TRANSFORM_ARKIT_TO_HEADSET
from operator_devices.hands_file import settings_of
from operator_devices.joycon_report import BUTTONS

STORE = get_typestore(Stores.ROS2_JAZZY)
START_NS = 1_790_000_000_000_000_000


def message(kind, **values):
    return STORE.types[kind](**values)


def header(t):
    stamp_ns = START_NS + round(t * 1e9)
    stamp = message("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return message("std_msgs/msg/Header", stamp=stamp, frame_id="")


def wrist(t):
    pose = message(
        "geometry_msgs/msg/Pose",
        position=message("geometry_msgs/msg/Point", x=0.1 * t, y=0.4, z=1.1),
        orientation=message("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
    return message("geometry_msgs/msg/PoseStamped", header=header(t), pose=pose)


def joy(t, *pressed):
    buttons = np.array([int(name in pressed) for name in BUTTONS], dtype=np.int32)
    axes = np.array([0.0, 0.5], dtype=np.float32)
    return message("sensor_msgs/msg/Joy", header=header(t), axes=axes, buttons=buttons)


def joints(t, names):
    values = np.full(len(names), t)
    return message(
        "sensor_msgs/msg/JointState",
        header=header(t), name=list(names), position=values, velocity=values, effort=values,
    )  # fmt: skip


def bag_of(folder, *more, with_hands=True):
    """An episode of two seconds, with the left operator's hands or without.

    Args:
        folder: of the bag.
        more: what else it holds: topic, kind, time [s], message.
        with_hands: whether it holds those of the left operator.
    """
    cell = load_cell(hardware="sim")
    names = cell.arms["left"].joint_names
    info = json.dumps({"format": 1, "contract": cell.canonical_text()})
    kept = [(INFO_TOPIC, "std_msgs/msg/String", 0.0, message("std_msgs/msg/String", data=info))]
    for t in np.arange(0.0, 2.0, 0.01).tolist():
        state = joints(t, names)
        kept.append(("/left/arm/joint_states", "sensor_msgs/msg/JointState", t, state))
    if with_hands:
        for t in np.arange(0.0, 2.0, 0.011).tolist():
            kept.append(
                ("/left/operator/wrist_pose", "geometry_msgs/msg/PoseStamped", t, wrist(t))
            )
        awake = [*np.arange(0.0, 1.0, 0.033).tolist(), *np.arange(1.5, 2.0, 0.033).tolist()]
        for t in [*awake[:3], awake[4], awake[3], *awake[5:]]:  # two of them crossed
            kept.append(("/left/operator/joy", "sensor_msgs/msg/Joy", t, joy(t, "l")))
    kept += more
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for topic, kind, t, one in kept:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            stamp_ns = START_NS + round(t * 1e9)
            writer.write(connections[topic], stamp_ns, STORE.serialize_cdr(one, kind))
    return folder


def test_hands_buttons_and_joints_of_an_episode_come_out_in_their_order(tmp_path):
    folder = bag_of(tmp_path / "episode_000000")
    assert is_bag(folder)
    found = hands_of_bag(folder)
    assert list(found) == ["left"], "of the right operator it holds nothing"
    hands = found["left"]
    assert hands.header.source == "bag" and "no head" in hands.notes[0]
    hand = load_cell(hardware="sim").operators["left"].hand
    for one in hands.headset:
        sent = TRANSFORM_ARKIT_TO_HEADSET @ one.matrices[hand]
        assert sent[:3, 3] == pytest.approx([0.1 * one.t, 0.4, 1.1], abs=1e-6)
    assert hands.joints[:, 0] == pytest.approx(hands.joint_times, abs=1e-6)
    assert len(hands.joints) == 200


def test_reports_that_a_bag_left_out_are_there_again_and_a_silence_stays_one(tmp_path):
    reports = hands_of_bag(bag_of(tmp_path / "episode_000000"))["left"].joycon
    gaps = np.diff([one.t for one in reports])
    assert (gaps >= 0.0).all() and all(one.buttons == {"l"} for one in reports)
    assert np.sort(gaps)[-2] < 0.02, "spaced as those of a Joy-Con"
    assert gaps.max() == pytest.approx(0.51, abs=0.05), "the Joy-Con that slept stays silent"


def changed_joy(t, **values):
    return "/left/operator/joy", "sensor_msgs/msg/Joy", 1.0, replace(joy(t), **values)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (changed_joy(1.0, axes=np.zeros(0, np.float32)), "22 buttons and 0 axes; need 22 and 2"),
        (changed_joy(1.0, buttons=np.zeros(3, np.int32)), "3 buttons and 2 axes; need 22 and 2"),
        (changed_joy(1.0, axes=np.array([9, 0], np.float32)), "stick is 9.0; need -1 to 1"),
        (changed_joy(1e6), "t is 1000000.0.* and not beyond 43200 s"),
    ],
)
def test_hands_in_a_bag_that_no_device_can_have_sent_are_refused(tmp_path, more, told):
    folder = bag_of(tmp_path / "episode_000000", more)
    with pytest.raises(EpisodeError, match=f"left operator .*{told}"):
        hands_of_bag(folder)


def told(t, **status):
    text = message("std_msgs/msg/String", data=json.dumps(status))
    return "/left/operator/status", "std_msgs/msg/String", t, text


FITTED = {"heading": 0.5, "hand_rotation": [0.0, 0.0, 0.0, 1.0]}
FACES = "the person faces 28.6 deg to the left"


@pytest.mark.parametrize(
    ("status", "calibration"),
    [
        ({"calibrated": FITTED, "calibration": FACES}, FITTED),
        ({"calibrated": {}, "calibration": UNCALIBRATED}, {}),
        ({"calibration": f"refused: too short; still in force: {UNCALIBRATED}"}, {}),
        ({}, {}),
    ],
)
def test_the_calibration_that_held_at_first_comes_out_of_a_bag(tmp_path, status, calibration):
    later = told(1.0, calibrated={**FITTED, "heading": 0.1}, scale=0.3)
    folder = bag_of(tmp_path / "episode_000000", told(0.0, **status), later)
    header = hands_of_bag(folder)["left"].header
    assert header.calibration == calibration
    assert header.settings == settings_of(load_cell(hardware="sim"), "left")


def test_a_bag_of_another_scale_is_of_other_settings(tmp_path):
    cell = load_cell(hardware="sim")
    folder = bag_of(tmp_path / "episode_000000", told(0.0, scale=0.5))
    with pytest.raises(EpisodeError, match=r"scale 0\.5, now 1\.0"):
        check_cell(cell, "left", hands_of_bag(folder)["left"])


@pytest.mark.parametrize("status", [{"calibration": FACES}, {"calibrated": "yes"}])
def test_a_calibration_without_its_numbers_is_refused(tmp_path, status):
    folder = bag_of(tmp_path / "episode_000000", told(0.0, **status))
    with pytest.raises(EpisodeError, match="numbers"):
        hands_of_bag(folder)


def test_a_bag_without_hands_or_with_rotten_bytes_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="nobody teleoperated"):
        hands_of_bag(bag_of(tmp_path / "episode_000000", with_hands=False))
    folder = bag_of(tmp_path / "episode_000001")
    (file,) = folder.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(EpisodeError, match="ate repair --bag"):
        hands_of_bag(folder)
    shutil.rmtree(folder)
    assert not is_bag(folder)
