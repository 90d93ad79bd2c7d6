"""Poses at the headset's own rate: each is used once and in its own time, and wakes the loop."""

import threading
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, transform
from ate_teleop.clutch import ClutchState
from ate_teleop.nodes.pacing import PosePacedLoop
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from ate_teleop.time_base import TimeBase
from operator_devices.hand_pose import HandSample, HandTracker
from operator_devices.joycon_report import BUTTONS, JoyConState

RATE = 90.36
"""Poses that a real headset was counted to send [Hz]."""
PRESSED = tuple(int(name == "l") for name in BUTTONS)


def smooth_hand(time, random):
    """A hand on a circle of 60 mm at up to 80 mm/s that turns a little, with a headset's noise."""
    wrist = transform(rotation_exp([0.4, 0.1 * np.sin(time), 0.9]), [0.2, 0.4, 1.1])
    wrist[:3, 3] += random.normal(0, 5e-5, 3)
    wrist[:3, 3] += 0.06 * np.array([np.cos(1.3 * time), 0.0, np.sin(1.3 * time)])
    wrist[:3, :3] @= rotation_exp(random.normal(0, 2e-4, 3))
    return wrist


@pytest.mark.parametrize("seed", range(2))
def test_a_smooth_hand_is_commanded_smoothly_in_spite_of_jitter(seed):
    cell = load_cell(hardware="sim")
    controller = OperatorController(operator_settings(cell, "left"))
    random, tracker, targets = np.random.default_rng(seed), HandTracker(), []
    measured = np.array(cell.arms["left"].home)
    tracker.begin_session()
    for index in range(400):
        arrived_ns = int(1e9 * (1.0 + index / RATE + np.clip(random.normal(0, 1e-3), -4e-3, 4e-3)))
        sample = tracker.update(smooth_hand(index / RATE, random), np.eye(4), arrived_ns)
        buttons = PRESSED if index else (0,) * len(BUTTONS)
        joy = JoyConState(buttons=buttons, received_ns=arrived_ns, session=1, live=True)
        output = controller.step(sample, joy, measured, arrived_ns)
        if output.status.clutch is ClutchState.ENGAGED:
            targets.append(output.joint_target)
    assert not any(target is None for target in targets), "each pose leads to a command"
    accelerations = np.abs(np.diff(targets, n=2, axis=0)).max(axis=1) * RATE**2
    assert np.percentile(accelerations, 99) < 12.0


def test_the_time_base_is_even_where_arrivals_are_not():
    random, base = np.random.default_rng(0), TimeBase(1.0 / 90.0)
    steps = [base.step(1.0 + i / RATE + random.normal(0, 1e-3)) for i in range(900)]
    assert np.std(steps[300:]) < 2.5e-4
    assert np.mean(steps[300:]) == pytest.approx(1.0 / RATE, rel=2e-3)


def test_the_time_base_counts_poses_that_were_left_out_and_begins_anew_after_a_gap():
    base = TimeBase(0.011)
    base.step(1.0)
    assert base.step(1.033) == pytest.approx(0.033, abs=1e-3)
    assert base.step(1.5) == pytest.approx(0.467, abs=1e-2)


def test_poses_that_come_in_a_bunch_gain_no_time():
    base, now, total, leads = TimeBase(0.011), 1.0, 0.0, []
    base.step(now)
    for _ in range(20):
        for gap in (0.09, *[2e-3] * 8):  # a stall, then what it held up
            now += gap
            total += base.step(now)
            leads.append(total - (now - 1.0))
    assert max(leads) < 0.0056, "never more than half a period ahead"


class Poses:
    """A source whose next pose, or next timeout, comes with each wait."""

    def __init__(self, changes):
        self.sample = HandSample(
            transform_wrist_to_headset=np.eye(4), transform_head_to_headset=np.eye(4),
            received_ns=0, changed_ns=0, sequence=0, session=1, tracked=True,
        )  # fmt: skip
        self.changes, self.timeouts = iter(changes), []

    def latest(self):
        return self.sample

    def wait_change(self, changed_ns, timeout):
        assert changed_ns == self.sample.changed_ns
        self.timeouts.append(timeout)
        if next(self.changes):
            self.sample = replace(self.sample, changed_ns=changed_ns + 1)


def test_the_loop_ticks_once_per_pose_and_also_without_one():
    poses = Poses([True, True, False, True, False])
    loop = iter(PosePacedLoop(poses, 1000.0, threading.Event(), 10))
    seen = []
    for _ in islice(loop, 5):
        seen.append(poses.latest().changed_ns)
    assert seen == [0, 1, 2, 2, 3]
    assert max(poses.timeouts) <= 1.4e-3


def test_a_flood_of_poses_does_not_make_the_loop_run_faster_than_it_may():
    loop = PosePacedLoop(Poses([True] * 100), 100.0, threading.Event(), 100)
    times = list(islice(iter(loop), 8))
    assert np.diff(times).min() >= 0.25 * 10_000_000
