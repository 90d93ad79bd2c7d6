"""Tracker and controller over seeds: whatever happens, the arm makes no motion of its own."""

import numpy as np

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, rotation_log, transform
from ate_teleop.clutch import ClutchState
from ate_teleop.ik import ArmIK
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from operator_devices.hand_pose import HandTracker
from operator_devices.joycon_report import BUTTONS, JoyConState

SEEDS = 200
TICK_NS = 11_111_111
SETTINGS = operator_settings(load_cell(hardware="sim"), "left")
HOME = np.array(load_cell(hardware="sim").arms["left"].home)
EVENTS = ("shift", "turn", "shift and turn", "swap", "restart", "silence", "stall", "joycon")
PRESSED = tuple(int(name == "l") for name in BUTTONS)


class Session:
    """One press of the shoulder by a person whose hand and head move, with an ideal arm."""

    def __init__(self, seed: int, ik: ArmIK) -> None:
        self.random = np.random.default_rng(seed)
        self.ik, self.controller = ik, OperatorController(SETTINGS, ik)
        self.tracker = HandTracker()
        self.tracker.begin_session()
        self.q = HOME + self.random.uniform(-0.2, 0.2, 7)
        self.speed, self.turn = self.random.normal(0, 0.15, 3), self.random.normal(0, 0.5, 3)
        self.lean = self.random.normal(0, 0.03, 3)
        self.start = rotation_exp(self.random.normal(0, 1.0, 3))
        self.now_ns, self.moved, self.swapped, self.pressed = 10**9, np.eye(4), False, False

    def person(self):
        """Wrist and head (4, 4) as the headset tells them now."""
        time = self.now_ns * 1e-9 - 1.0
        head = transform(rotation_exp(self.lean * time), [0.0, 0.0, 1.5] + self.lean * time)
        wrist = transform(self.start @ rotation_exp(self.turn * time), [0.2, 0.4, 1.1])
        wrist[:3, 3] += self.speed * time + self.random.normal(0, 5e-5, 3)
        if self.swapped:
            wrist[:3, :3] @= np.diag([-1.0, -1.0, 1.0])
            wrist[0, 3] -= self.random.uniform(0.0, 0.5)
        return self.moved @ wrist, self.moved @ head

    def step(self, joycon: bool = True):
        """One tick with a new pose; the target that it led to."""
        self.now_ns += TICK_NS
        self.tracker.update(*self.person(), self.now_ns)
        buttons = PRESSED if self.pressed and joycon else (0,) * len(BUTTONS)
        joy = JoyConState(buttons=buttons, received_ns=self.now_ns, session=1, live=joycon)
        output = self.controller.step(self.tracker.sample, joy, self.q, self.now_ns)
        self.q = self.q if output.joint_target is None else output.joint_target
        return output

    def happen(self, event: str) -> None:
        """Let something come between hand and arm."""
        turn = np.radians(180.0 ** self.random.uniform()) if "turn" in event else 0.0
        shift = self.random.normal(size=3)
        shift *= 1e-3 * 200.0 ** self.random.uniform() / np.linalg.norm(shift)
        self.moved = transform(
            rotation_exp([0.0, 0.0, turn]), shift if "shift" in event else np.zeros(3)
        )
        self.swapped = event == "swap"
        if event == "restart":
            self.tracker.begin_session()
        if event in ("silence", "stall"):
            self.now_ns += int(self.random.uniform(0.155, 0.6) * 1e9)
        if event == "stall":  # the reader went on
            self.tracker.update(*self.person(), self.now_ns)


def test_nothing_between_hand_and_arm_makes_the_arm_move_by_itself() -> None:
    moved, ik = [], ArmIK(SETTINGS.ik)
    for seed in range(SEEDS):
        session, event = Session(seed, ik), EVENTS[seed % len(EVENTS)]
        session.step()
        session.pressed, before = True, ik.tool_pose(session.q)
        first = next(
            output for _ in range(12) if (output := session.step()).joint_target is not None
        )
        after = ik.tool_pose(first.joint_target)
        assert np.linalg.norm(after[:3, 3] - before[:3, 3]) < 1e-3
        assert np.linalg.norm(rotation_log(before[:3, :3].T @ after[:3, :3])) < np.radians(0.5)
        last = [session.step() for _ in range(6)][-1]
        assert last.status.clutch is ClutchState.ENGAGED
        session.happen(event)
        outputs = [session.step(joycon=event != "joycon") for _ in range(6)]
        if any(output.joint_target is not None for output in outputs):
            moved.append((seed, event))
    assert not moved
