"""Recorded hands played through emulated devices: the same messages, the same motion."""

import os
import queue
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import EpisodeError
from ate_core.geometry import rotation_exp, transform
from ate_core.operator_hands import joycon_folder, replayed_operator
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from ate_teleop.stroke_comparison import JointPath, compare
from operator_devices import headset_protocol as protocol
from operator_devices.hand_pose import (
    TRANSFORM_ARKIT_TO_HEADSET,
    TRANSFORM_HEADSET_TO_ARKIT,
    HandTracker,
)
from operator_devices.hands_file import HandsHeader, HandsRecording, read_hands
from operator_devices.hands_player import ReplayedOperator, even_times, play
from operator_devices.hands_recorder import HandsRecorder
from operator_devices.joycon_report import BUTTONS, JoyConState, StickCalibration, parse_report
from operator_devices.vision_pro import VisionProConfig, VisionProReader

HAND = transform(rotation_exp([0.4, -0.3, 0.9]), [0.2, 0.4, 1.1])
HEAD = transform(np.eye(3), [0.0, 0.0, 1.5])
START_NS = 1_790_000_000_000_000_000


class Chain:
    """From the bytes of the wire to joint targets, with an ideal arm, on any clock."""

    def __init__(self):
        self.cell = load_cell(hardware="sim")
        self.controller = OperatorController(operator_settings(self.cell, "left"))
        self.tracker = HandTracker()
        self.tracker.begin_session()
        self.q = np.array(self.cell.arms["left"].home)
        self.joy = None
        self.recorder = None
        self.way = []

    def hear(self, message, now_ns):
        if self.recorder:
            self.recorder.take_message(message, now_ns)
            self.recorder.take_joints(START_NS + now_ns, self.q, now_ns)
        wrist = TRANSFORM_ARKIT_TO_HEADSET @ protocol.read_matrix(message.right_hand.wristMatrix)
        head = TRANSFORM_ARKIT_TO_HEADSET @ protocol.read_matrix(message.Head)
        sample = self.tracker.update(wrist, head @ TRANSFORM_HEADSET_TO_ARKIT, now_ns)
        output = self.controller.step(sample, self.joy, self.q, now_ns)
        if output.joint_target is not None:
            self.q = output.joint_target
        self.way.append((now_ns * 1e-9, self.q, output.status.clutch.value))

    def path(self, start):
        times, joints, _ = zip(*self.way, strict=True)
        return JointPath(times=np.array(times) - start, joints=np.stack(joints))

    def press(self, state):
        self.joy = state
        if self.recorder:
            self.recorder.take_report(state)


def message(wrist, head=HEAD):
    update = protocol.HandUpdate()
    protocol.write_matrix(update.right_hand.wristMatrix, TRANSFORM_HEADSET_TO_ARKIT @ wrist)
    protocol.write_matrix(update.left_hand.wristMatrix, np.eye(4))
    arkit = TRANSFORM_HEADSET_TO_ARKIT @ head @ TRANSFORM_ARKIT_TO_HEADSET
    protocol.write_matrix(update.Head, arkit)
    return update


def hand_at(t):
    """A hand that rests for a second, and then goes on a curve of 0.2 m."""
    phase = np.clip((t - 1.0) / 3.0, 0.0, 1.0) * np.pi
    turned = rotation_exp([0.0, 0.2 * np.sin(phase), 0.0]) @ HAND[:3, :3]
    return transform(turned, HAND[:3, 3] + 0.1 * np.array([np.sin(phase), 1 - np.cos(phase), 0]))


def recorded_stroke(folder, stall=None):
    """Four seconds of a live session with jitter and noise; the reader may stand still once."""
    chain, random = Chain(), np.random.default_rng(5)
    header = HandsHeader(
        start_ns=START_NS, side="left", cell="c", hardware="sim",
        joint_names=tuple(chain.cell.arms["left"].joint_names),
    )  # fmt: skip
    chain.recorder = HandsRecorder(folder, header, origin_ns=0)
    chain.recorder.start()
    due = [(t, "pose") for t in np.arange(0.05, 4.5, 1 / 90.36) + random.normal(0, 1e-3, 403)]
    due += [(t, "buttons") for t in np.arange(0.05, 4.5, 0.015)]
    for t, kind in sorted(due):
        read = stall[1] if stall and stall[0] < t < stall[1] else t
        if kind == "buttons":
            pressed = tuple(int(name == "l" and t > 0.5) for name in BUTTONS)
            chain.press(
                JoyConState(
                    buttons=pressed, battery=1.0, received_ns=int(read * 1e9), session=1, live=True
                )
            )
        else:
            noisy = hand_at(t)
            noisy[:3, 3] += random.normal(0, 5e-5, 3)
            head = transform(np.eye(3), HEAD[:3, 3] + random.normal(0, 2e-5, 3))
            chain.hear(message(noisy, head), int(read * 1e9))
    chain.recorder.stop()
    return chain, read_hands(folder / "left.jsonl")


class VirtualTime:
    """A clock that goes on where somebody waits."""

    now = 100.0

    def is_set(self):
        return False

    def wait(self, seconds):
        self.now += seconds


def played_on_a_virtual_clock(recording, folder):
    """The same chain behind the bytes that the emulated devices send."""
    chain, clock, sent = Chain(), VirtualTime(), queue.SimpleQueue()
    operator = chain.cell.operators["left"]
    device = ReplayedOperator(operator, folder, recording)
    device._headset._relays.append(sent)

    def report():
        data = device._joycon._model.full_report()
        calibration = device._joycon._model.stick_calibration
        assert isinstance(calibration, StickCalibration)
        chain.press(parse_report(data, "left", calibration, int(clock.now * 1e9), 1))

    device._joycon.send_report = report
    until = recording.duration

    def acts():
        for t, act in device.acts(START_NS, until):
            yield t, lambda act=act: (act(), hear())

    def hear():
        while not sent.empty():
            chain.hear(protocol.HandUpdate.FromString(sent.get()), int(clock.now * 1e9))

    play(acts(), clock.now, lambda: clock.now, clock)
    return chain


@pytest.mark.parametrize("stall", [None, (2.0, 2.11)])
def test_a_stroke_replayed_on_a_virtual_clock_goes_the_same_way(tmp_path, stall):
    first, recording = recorded_stroke(tmp_path, stall)
    second = played_on_a_virtual_clock(recording, tmp_path)
    assert {"released", "engaging", "engaged"} == {state for _, _, state in first.way}
    assert {state for _, _, state in second.way} <= {"released", "engaging", "engaged"}
    travelled = np.ptp([q for _, q, _ in first.way], axis=0).max()
    assert travelled > 0.2, "the arm has moved at all"
    one = compare(first.cell.arms["left"], first.path(0.0), second.path(100.0))
    assert one.position_max < 2e-3 and one.angle_max < 0.01 and abs(one.shift) < 0.02


def test_a_recording_without_a_head_of_its_own_is_followed_too(tmp_path):
    first, recording = recorded_stroke(tmp_path)
    one = recording.headset[0].matrices["head"]
    headless = [
        replace(entry, matrices={**entry.matrices, "head": one}) for entry in recording.headset
    ]
    played = played_on_a_virtual_clock(replace(recording, headset=tuple(headless)), tmp_path)
    assert {state for _, _, state in played.way} == {"released", "engaging", "engaged"}
    assert played.way[-1][1] == pytest.approx(first.way[-1][1], abs=0.02)


def test_messages_that_a_stalled_reader_found_at_once_are_played_evenly():
    sent = np.arange(0.0, 2.0, 0.015)
    read = np.where((sent > 1.0) & (sent < 1.1), 1.1, sent)
    assert np.diff(read).max() > 0.1
    even = even_times(read)
    assert np.diff(even).max() < 0.03 and (even <= read).all()
    assert np.diff(even).min() > 0.0


def test_a_silence_of_a_device_stays_a_silence():
    times = np.concatenate([np.arange(0.0, 1.0, 0.015), np.arange(3.0, 4.0, 0.015)])
    assert even_times(times) == pytest.approx(times)


def test_a_recording_without_poses_or_buttons_is_refused(tmp_path):
    _, recording = recorded_stroke(tmp_path)
    operator = load_cell(hardware="sim").operators["left"]
    for empty in (replace(recording, headset=()), replace(recording, joycon=())):
        with pytest.raises(EpisodeError, match="nothing to play"):
            ReplayedOperator(operator, tmp_path, empty)
    assert isinstance(recording, HandsRecording)


def test_over_the_wire_each_pose_arrives_bit_for_bit(tmp_path):
    _, recording = recorded_stroke(tmp_path)
    cell = load_cell(hardware="sim")
    address = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.77"
    operator = replace(cell.operators["left"], headset_ip=address)
    heard = []
    reader = VisionProReader(
        VisionProConfig(ip=address, hand="right"), lambda one, _: heard.append(one)
    )
    with ReplayedOperator(operator, tmp_path, recording) as device:
        reader.start()
        deadline = time.monotonic() + 10.0
        while not heard and time.monotonic() < deadline:
            device.rest()
            threading.Event().wait(0.01)
        assert heard, "the reader finds the replayed headset"
        for one in recording.headset[:100]:
            device._send(one)
        last = recording.headset[99].matrices["right"]

        def arrived():
            return np.array_equal(protocol.read_matrix(heard[-1].right_hand.wristMatrix), last)

        while not arrived() and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        reader.stop()
    found = [protocol.read_matrix(one.right_hand.wristMatrix) for one in heard[-100:]]
    for one, matrix in zip(recording.headset[:100], found, strict=True):
        assert np.array_equal(one.matrices["right"], matrix)


def test_hands_for_a_real_cell_never_reach_the_devices_of_a_simulated_one(runtime_dir):
    sim, real = load_cell(hardware="sim"), load_cell(hardware="real")
    assert joycon_folder(sim) != joycon_folder(real)
    for side in ("left", "right"):
        one, other = replayed_operator(sim, side), replayed_operator(real, side)
        assert one == sim.operators[side]
        assert other.headset_ip.startswith("127."), "not the person's own headset"
        assert (one.headset_ip, one.headset_port) != (other.headset_ip, other.headset_port)
        assert other.joycon_serial not in (one.joycon_serial, real.operators[side].joycon_serial)
    ips = {replayed_operator(real, side).headset_ip for side in ("left", "right")}
    assert len(ips) == 2
