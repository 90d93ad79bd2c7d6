"""Hand, buttons, operator and safety filter on one clock: what a silence does to a moving arm."""

import heapq

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, transform
from ate_core.safety import JointCommand, SafetyFilter
from ate_teleop.clutch import ClutchState
from ate_teleop.ik import ArmIK
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from operator_devices.hand_pose import HandSample
from operator_devices.joycon_report import BUTTONS, JoyConState

PERIODS = {"pose": 1 / 90, "buttons": 0.015, "operator": 1 / 90, "driver": 1 / 100}
LATE = {"pose": 0.0, "buttons": 0.001, "operator": 0.003, "driver": 0.005}
REST_SPEED = 0.05
"""Joint speed below which an arm counts as at rest [rad/s]."""
SHOULDER = tuple(int(name == "l") for name in BUTTONS)
HAND = transform(rotation_exp([0.4, -0.3, 0.9]), [0.2, 0.4, 1.1])
SILENCE = 0.8
"""When the silence begins [s]."""


class Stroke:
    """A hand that swings with its shoulder button held, and the set points it leads to."""

    def __init__(self, speed: float, turn: float, axis: int) -> None:
        cell = load_cell(hardware="sim")
        arm = cell.arms["left"]
        self.speed, self.turn, self.axis = speed, turn, np.eye(3)[axis]
        self.controller = OperatorController(operator_settings(cell, "left"))
        self.filter = SafetyFilter(cell.safety, arm)
        self.q = np.array(arm.home)
        self.random = np.random.default_rng(3)
        self.hand, self.joy, self.output = None, None, None
        self.obeys, self.holds, self.released = True, 0, np.inf
        self.times, self.points, self.clutch = [], [self.q], set()
        self.heard = {"pose": 0.0, "buttons": 0.0, "command": 0.0}

    def run(self, end: float, silent: str, until: float, phase: float = 0.0):
        """Go on to `end` [s]; some streams are silent from `SILENCE` + `phase` to `until`."""
        due = [(late, name) for name, late in LATE.items()]
        heapq.heapify(due)
        while due[0][0] < end:
            now, name = heapq.heappop(due)
            heapq.heappush(due, (now + PERIODS[name], name))
            if name in silent.split() and SILENCE + phase <= now < until:
                continue
            getattr(self, f"_{name}")(now, int(now * 1e9) + 10**9)
            if now < SILENCE + phase and name in self.heard:
                self.heard[name] = now

    def _pose(self, now: float, now_ns: int) -> None:
        swing = max(0.0, now - 0.35)
        pose = HAND.copy()
        pose[:3, 3] += self.axis * 0.25 * np.sin(swing * self.speed / 0.25)
        pose[:3, 3] += self.random.normal(0.0, 5e-5, 3)
        pose[:3, :3] @= rotation_exp(self.axis * np.sin(3.0 * swing) * self.turn / 3.0)
        self.hand = HandSample(
            transform_wrist_to_headset=pose, transform_head_to_headset=np.eye(4),
            received_ns=now_ns, changed_ns=now_ns, sequence=now_ns, session=1, tracked=True,
        )  # fmt: skip

    def _buttons(self, now: float, now_ns: int) -> None:
        pressed = SHOULDER if 0.1 < now < self.released else (0,) * len(BUTTONS)
        self.joy = JoyConState(buttons=pressed, received_ns=now_ns, session=1, live=True)

    def _operator(self, now: float, now_ns: int) -> None:
        joy = self.joy
        if joy is not None and now_ns - joy.received_ns > 100_000_000:
            joy = joy.released()  # as its reader does
        self.output = self.controller.step(self.hand, joy, self.q, now_ns)
        if now > SILENCE:
            self.clutch.add(self.output.status.clutch)
        if self.output.joint_target is not None:
            target = self.output.joint_target
            self.heard["command"] = now
            self.filter.submit(JointCommand(commander="teleop", position=target, stamp=now), now)
        self.holds += self.output.hold
        if self.output.hold and self.obeys:
            self.filter.hold("teleop", now, now)

    def _driver(self, now: float, _: int) -> None:
        target = self.filter.step(now, self.q).target
        self.q = self.q if target is None else target
        self.times.append(now)
        self.points.append(self.q)

    def tool(self):
        """Where the tool is now (4, 4)."""
        return ArmIK(self.controller._settings.ik).tool_pose(self.q)

    def speeds(self, begin: float, end: float):
        """Largest joint speed of each tick of the driver in a time, and when."""
        times = np.array(self.times)
        speeds = np.abs(np.diff(self.points, axis=0)).max(axis=1) / PERIODS["driver"]
        chosen = (times > begin) & (times <= end)
        return speeds[chosen], times[chosen]

    def rest_after(self, stream: str) -> float:
        """Time from the last word of a stream until the arm is at rest for good [s]."""
        last = self.heard[stream]
        assert self.speeds(last - 0.05, last)[0].max() > 0.15, "the arm moved"
        speeds, times = self.speeds(last, np.inf)
        return float(times[speeds > REST_SPEED].max(initial=last) - last)


MOTIONS = [(0.1, 0.0, 0), (0.3, 1.5, 2), (0.6, 0.0, 1), (1.0, 1.5, 0)]
"""Speed [m/s], turn [rad/s] and axis of a hand; the last one moves joints at 2 rad/s."""


@pytest.mark.parametrize("phase", [0.0, 0.063])
@pytest.mark.parametrize("motion", MOTIONS)
def test_an_arm_is_at_rest_within_200_ms_of_the_last_pose(motion, phase):
    stroke = Stroke(*motion)
    stroke.run(1.4, "pose", np.inf, phase)
    assert stroke.rest_after("pose") <= 0.2
    assert stroke.output.status.clutch is ClutchState.BLOCKED


@pytest.mark.parametrize("phase", np.linspace(0.0, 0.2, 5))
@pytest.mark.parametrize("motion", MOTIONS[2:])
def test_an_arm_is_at_rest_within_200_ms_of_the_last_command_of_an_operator(motion, phase):
    stroke = Stroke(*motion)
    stroke.run(1.4, "operator", np.inf, phase)
    assert stroke.rest_after("command") <= 0.2


@pytest.mark.parametrize("phase", np.linspace(0.0, 0.2, 5))
@pytest.mark.parametrize("motion", MOTIONS)
def test_an_arm_is_at_rest_within_200_ms_of_the_last_word_of_a_joycon(motion, phase):
    stroke = Stroke(*motion)
    stroke.run(1.4, "buttons", np.inf, phase)
    assert stroke.rest_after("buttons") <= 0.2
    assert stroke.output.status.clutch is ClutchState.RELEASED


@pytest.mark.parametrize("phase", np.linspace(0.0, 0.2, 5))
@pytest.mark.parametrize("motion", MOTIONS[2:])
def test_an_arm_is_at_rest_within_200_ms_when_hand_and_buttons_fall_silent_at_once(motion, phase):
    stroke = Stroke(*motion)
    stroke.run(1.4, "pose buttons", np.inf, phase)
    assert stroke.rest_after("buttons") <= 0.2
    assert stroke.output.status.clutch is ClutchState.RELEASED


@pytest.mark.parametrize("phase", [0.0, 0.004, 0.008])
@pytest.mark.parametrize("gap", [0.03, 0.045])
def test_a_lost_report_of_the_joycon_slows_a_fast_arm_and_stops_none(gap, phase):
    stroke = Stroke(*MOTIONS[3])
    stroke.run(1.4, "buttons", SILENCE + phase + gap, phase)
    assert stroke.clutch == {ClutchState.ENGAGED}
    assert stroke.speeds(SILENCE, SILENCE + 0.15)[0].min() > 1.0


def test_the_arm_is_told_once_that_a_stroke_is_over_and_brakes_sooner_by_it():
    told, untold = (Stroke(*MOTIONS[3]) for _ in range(2))
    untold.obeys = False
    rests = []
    for stroke in (told, untold):
        stroke.released = SILENCE
        stroke.run(1.4, "", 0.0)
        rests.append(stroke.rest_after("command"))
        assert stroke.holds == 1
    assert rests[0] < rests[1]


@pytest.mark.parametrize("gap", [0.03, 0.06, 0.1, 0.14])
@pytest.mark.parametrize("stream", ["pose", "buttons"])
def test_a_hiccup_keeps_the_clutch_and_the_arm_catches_up(stream, gap):
    gap = min(gap, 0.09) if stream == "buttons" else gap
    steady, stroke = Stroke(0.15, 0.2, 0), Stroke(0.15, 0.2, 0)
    steady.run(1.8, "", 0.0)
    stroke.run(1.8, stream, SILENCE + gap)
    assert stroke.clutch == {ClutchState.ENGAGED}
    np.testing.assert_allclose(stroke.tool(), steady.tool(), atol=4e-3)
    speeds = stroke.speeds(SILENCE, 1.8)[0]
    assert speeds.max() < 2.1 * steady.speeds(SILENCE, 1.8)[0].max(), "no rush after the gap"
    assert np.abs(np.diff(stroke.points[80:], n=2, axis=0)).max() <= 15.0 * 0.01**2 + 1e-9


def test_a_longer_silence_of_the_hand_opens_the_clutch_and_nothing_follows_its_return():
    stroke = Stroke(0.3, 0.5, 0)
    stroke.run(1.8, "pose", SILENCE + 0.17)
    assert stroke.output.status.clutch is ClutchState.BLOCKED
    assert stroke.speeds(SILENCE + 0.2, 1.8)[0].max() <= REST_SPEED
