"""Exchanged arms are told by their first motion, also where both stand alike."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ate_core.contract import SIDES, load_cell
from ate_core.exchanged import Answers
from ate_policy.chunk_check import ChunkLimits, ChunkRefusal
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.motion_plan import ExpertConfig

CELL = load_cell(hardware="sim")
LIMITS = ChunkLimits.of_cell(CELL)
LEFT, RIGHT = LIMITS.arms
HOME = np.array(CELL.arms["left"].home)
RECORDINGS = Path(os.environ.get("ATE_RECORDINGS", "recordings")) / "g1_two_arm"
TICK = 0.05
TICKS = 20
"""Of a chunk: within so many an exchange must be told."""


def standing():
    """Both arms alike (D,)."""
    state = np.ones(CELL.layout.action.size)
    state[LEFT] = state[RIGHT] = HOME
    return state


def ramp(speed, ticks=TICKS, start=HOME, rest=0):
    """Joints (ticks, 7) that start to move as an arm may."""
    time = np.maximum(np.arange(1, ticks + 1) - rest, 0)[:, None] * TICK
    return start + np.asarray(speed) * time


def obeyed(told, lag, hand=HOME):
    """What an arm does with commands (N, 7): the same, some ticks later, softened."""
    late = np.vstack([np.repeat(hand[None], lag, axis=0), told])[: len(told)]
    done, q = [], hand
    for target in late:
        q = q + 0.7 * (target - q)
        done.append(q)
    return np.array(done)


def told_at(told, did):
    """First tick at which an exchange is told, with its words; None: never.

    Args:
        told: of each arm (N, 7); None: nobody drives it.
        did: of each arm (N, 7).
    """
    answers = Answers()
    for tick in range(len(did[0])):
        commands = {
            side: None if told[row] is None else told[row][tick] for row, side in enumerate(SIDES)
        }
        states = {side: did[row][tick] for row, side in enumerate(SIDES)}
        if words := answers.note(tick, commands, states):
            return tick, words
    return None


REACH = np.array([0.0, 0.5, 0.0, -0.4, 0.0, 0.3, 0.0])
TURN = np.array([0.4, 0.0, 0.0, 0.2, 0.0, 0.0, 0.3])


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (REACH, 0 * REACH),
        (0 * REACH, REACH),
        (REACH, TURN),
        (REACH, -REACH),
        (0.2 * TURN, 0 * TURN),
    ],
    ids=["left", "right", "both", "mirrored", "slowly"],
)
def test_an_arm_that_answers_for_the_other_is_named_within_a_chunk(left, right, lag):
    told = ramp(left), ramp(right)
    did = obeyed(told[1], lag), obeyed(told[0], lag)
    tick, words = told_at(told, did)
    assert tick < TICKS
    assert "arm does what the" in words
    assert "exchanged" in words


def test_of_one_arm_that_moves_the_one_that_answers_is_named():
    told = ramp(REACH), ramp(0 * REACH)
    _, words = told_at(told, told[::-1])
    assert words.startswith("the right arm does what the left one is told")


def test_equal_commands_tell_nothing_until_they_differ():
    left = ramp(REACH, 60)
    right = np.vstack([left[:30], np.repeat(left[29:30], 30, axis=0)])
    tick, _ = told_at((left, right), (obeyed(right, 1), obeyed(left, 1)))
    assert 30 < tick < 30 + TICKS


@pytest.mark.parametrize("blocked", [0, 1])
def test_a_blocked_arm_beside_one_that_moves_alike_is_not_called_exchanged(blocked):
    told = ramp(REACH, 60), ramp(REACH, 60)
    did = [obeyed(one, 1) for one in told]
    did[blocked] = np.repeat(did[blocked][10:11], 60, axis=0)
    assert told_at(told, did) is None


@pytest.mark.parametrize("driven", [0, 1])
@pytest.mark.parametrize("speed", [REACH, 0.2 * TURN], ids=["fast", "slow"])
def test_of_two_arms_of_which_one_is_driven_the_one_that_answers_is_named(driven, speed):
    told, did = [None, None], [ramp(0 * REACH), ramp(0 * REACH)]
    told[driven], did[1 - driven] = ramp(speed), obeyed(ramp(speed), 2)
    tick, words = told_at(told, did)
    assert tick < TICKS
    assert words.startswith(f"the {SIDES[1 - driven]} arm does what the {SIDES[driven]} one is")


@pytest.mark.parametrize("driven", [0, 1])
def test_an_arm_that_nobody_drives_may_be_pushed_beside_one_that_obeys(driven):
    told, did = [None, None], [ramp(TURN, 60), ramp(TURN, 60)]
    told[driven] = ramp(REACH, 60)
    did[driven] = obeyed(told[driven], 2)
    assert told_at(told, did) is None
    assert told_at([None, None], did) is None


def test_an_arm_that_was_moved_by_hand_and_is_driven_again_is_not_called_exchanged():
    """The begin of its motion is no motion of its own: what was told before counts no more."""
    answers = Answers()
    pushed = ramp(REACH)
    for tick, q in enumerate(pushed):
        assert not answers.note(tick, {"left": q, "right": None}, {"left": HOME, "right": HOME})
    for tick in range(len(pushed), 2 * len(pushed)):
        both = {"left": HOME, "right": pushed[-1]}
        assert not answers.note(tick, both, both)


def test_an_arm_that_somebody_pushes_is_not_called_exchanged():
    told = ramp(REACH, 60), ramp(0 * REACH, 60)
    assert told_at(told, (obeyed(told[0], 1), ramp(TURN, 60))) is None


def test_after_a_pause_the_way_before_counts_no_more():
    answers = Answers()
    for tick, step in enumerate(ramp(REACH)):
        both = {"left": step, "right": HOME}
        answers.note(tick, both, both)
    for tick in range(100, 110):  # meanwhile somebody moved the other one likewise
        both = {"left": step, "right": HOME + (step - HOME)}
        assert not answers.note(tick, both, both)


@pytest.mark.parametrize("task", ["handover", "use_toaster"])
def test_the_arms_of_a_healthy_cell_are_never_called_exchanged_and_exchanged_ones_soon(task):
    env = CellEnv(task, CELL)
    for seed in range(3):
        seen = env.reset(seed, "hard")
        player = ExpertPlayer(env, seed, ExpertConfig(aim_noise=0.003))
        told, did = [], []
        for tick in range(player.ticks):
            action = player.action(tick)
            told.append(action)
            did.append(np.asarray(seen.state))
            seen = env.step(action)
        told, did = np.array(told), np.array(did)
        commands = told[:, LEFT], told[:, RIGHT]
        assert told_at(commands, (did[:, LEFT], did[:, RIGHT])) is None
        tick, _ = told_at(commands, (did[:, RIGHT], did[:, LEFT]))
        moved = np.abs(told - told[0]).max(axis=1) > 0.1
        assert tick < np.argmax(moved) + TICKS
    env.close()


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="set ATE_RECORDINGS to real recordings")
def test_real_arms_are_never_called_exchanged_and_exchanged_ones_always():
    """Two arms of another robot, with the lag of real servos; joints left, then right."""
    for file in sorted(RECORDINGS.glob("data/**/*.parquet"))[:5]:
        table = pq.read_table(file)
        commands, states = (
            (vectors[:, :7], vectors[:, 7:14])
            for name in ("action", "observation.state")
            for vectors in [np.stack(table[name].to_numpy(zero_copy_only=False))]
        )
        assert told_at(commands, states) is None, file
        assert told_at(commands, states[::-1]) is not None, file


def test_a_chunk_that_begins_with_each_arm_at_the_other_is_refused_as_exchanged():
    state = standing()
    state[LEFT] += 0.08 * REACH / 0.5
    action = state.copy()
    action[LEFT], action[RIGHT] = state[RIGHT], state[LEFT]
    chunk = np.repeat(action[None], TICKS, axis=0)
    with pytest.raises(ChunkRefusal, match="left and right are exchanged") as caught:
        LIMITS.check(chunk, standing(), measured=state)
    assert caught.value.kind == "exchanged"


def test_from_equal_postures_the_second_chunk_tells_of_exchanged_columns():
    """A policy that moves one arm and keeps the other; its columns reach the other arms."""

    def infer(state):
        return np.hstack([ramp(REACH, start=state[LEFT]), np.repeat(state[None, RIGHT], TICKS, 0)])

    state = standing()
    bodies = [HOME, HOME]
    first = infer(state)
    to_right, to_left = first[:13, :7], first[:13, 7:]  # its left columns are the right arm's
    bodies = [to_left[-1], to_right[-1]]
    state[LEFT], state[RIGHT] = bodies
    second = infer(state)
    chunk = np.ones((TICKS, state.size))
    chunk[:, RIGHT], chunk[:, LEFT] = second[:, :7], second[:, 7:]
    with pytest.raises(ChunkRefusal, match="exchanged"):
        LIMITS.check(chunk, state)
