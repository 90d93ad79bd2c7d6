"""What was read before a process stood still moves nothing afterwards."""

import time
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

pytest.importorskip("rclpy")

from ate_core.contract import load_cell
from ate_teleop.episode_replay.play import Played, play
from ate_teleop.nodes.operator_node import OperatorNode
from ate_teleop.operator_status import OperatorOutput

pytestmark = pytest.mark.ros

BOUND = load_cell().safety.command_timeout
"""Age of a stamp from which the drivers refuse it [s]."""


@pytest.mark.parametrize(("seconds", "moves"), [(0.0, True), (2 * BOUND, False)])
def test_a_hand_that_was_seen_before_a_stall_moves_nothing_after_it(seconds, moves):
    output = OperatorOutput(
        joint_target=np.zeros(7), hold=False, gripper=0.5, events=(), stop=False, go_home=False,
        status=MagicMock(), calibration=None, ik=None,
    )  # fmt: skip

    def step(*_, **__):
        time.sleep(seconds)  # as a stopped process does
        return output

    node = MagicMock(_recorder=None, _longest_tick_ns=int(1e9 * BOUND))
    node._controller.step = step
    OperatorNode._tick(node, time.monotonic_ns())
    (commanded, _), (opened, *_) = (
        call.call_args.args for call in (node._publish.send_command, node._publish.send_opening)
    )
    assert (commanded.joint_target is not None) == (opened.gripper is not None) == moves


def test_a_posture_that_a_replay_looked_up_before_a_stall_is_too_old_for_the_drivers():
    ages, stalls = [], [0.0, 0.0, 2 * BOUND, 0.0]

    def trouble(now):
        if not stalls:
            return "enough"
        time.sleep(stalls.pop(0))  # as a stopped process does
        return ""

    posture = np.zeros(7)
    arm = SimpleNamespace(position=posture)
    player = MagicMock(watch=SimpleNamespace(trouble=trouble, arms={"left": arm}))
    type(player).now_ns = property(lambda _: time.monotonic_ns())
    player.command = lambda arms, openings, stamp: ages.append(time.monotonic_ns() - stamp)
    plan = SimpleNamespace(seconds=1.0, ways={}, at=lambda _: ({"left": posture}, {}))
    play(player, plan, 1.0, 0.35, Played())
    assert [age / 1e9 > BOUND for age in ages] == [False, False, True, False]
