"""Chunks are checked whole, inference runs beside the loop, and doubt means hold."""

import threading
import time

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import SafetyError
from ate_core.observation import Observation, Refusal
from ate_policy.chunk_check import ChunkLimits
from ate_policy.chunking import ActionQueue, ChunkingConfig, usual_execute
from ate_policy.runtime import MOST_FAR, MOST_VAIN, PolicyRuntime

CELL = load_cell()
LIMITS = ChunkLimits.of_cell(CELL)
HOME = CELL.layout.state.pack(
    {
        "left_arm": CELL.arms["left"].home,
        "left_gripper": 1.0,
        "right_arm": CELL.arms["right"].home,
        "right_gripper": 1.0,
    }
).astype(np.float32)


def chunk_from(state, step=0.01):
    return state + step * np.arange(1, 21)[:, None] * (np.arange(16) == 0).astype(np.float32)


def observation():
    return Observation(state=HOME, stamp_ns=0)


def wait_for(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def make_runtime():
    made = []

    def make(infer, execute=10, mode="synchronous", **settings):
        queue = ActionQueue(ChunkingConfig(execute=execute, mode=mode))
        made.append(PolicyRuntime(infer, LIMITS, queue, **settings))
        return made[-1]

    yield make
    for runtime in made:
        runtime.close()


def test_a_clean_chunk_passes():
    LIMITS.check(chunk_from(HOME), HOME)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.__setitem__((3, 2), np.nan), "left_arm_3 of action 3 is not finite"),
        (lambda c: c.__setitem__((5, 0), 4.0), "outside"),
        (lambda c: c.__setitem__((7, 7), 1.4), "left_gripper"),
        (lambda c: c.__setitem__((slice(9, None), 4), 0.5), "jumps by 0.500 rad at action 9"),
        (lambda c: c.__iadd__(0.4 * (np.arange(16) == 9)), "right_arm_2 jumps"),
    ],
)
def test_a_bad_chunk_is_refused_by_name(edit, words):
    chunk = chunk_from(HOME)
    edit(chunk)
    with pytest.raises(SafetyError, match=words):
        LIMITS.check(chunk, HOME)


def test_the_loop_never_waits_for_inference(make_runtime):
    release = threading.Event()

    def slow(_):
        release.wait(10)
        return chunk_from(HOME)

    runtime = make_runtime(slow)
    begin = time.monotonic()
    assert [runtime.tick(tick, observation) for tick in range(3)] == [None, None, None]
    assert time.monotonic() - begin < 5.0
    release.set()
    wait_for(lambda: runtime.stats().chunks == 1)
    # The arms held all the while, so nothing of the chunk has passed.
    np.testing.assert_allclose(runtime.tick(5, observation), chunk_from(HOME)[0])


def test_a_refused_chunk_means_hold_and_a_new_request(make_runtime):
    chunks = [np.full((20, 16), np.nan, np.float32), chunk_from(HOME)]
    runtime = make_runtime(lambda _: chunks.pop(0))
    assert runtime.tick(0, observation) is None
    wait_for(lambda: runtime.stats().refused == 1)
    assert "not finite" in runtime.stats().reason
    assert runtime.tick(1, observation) is None
    wait_for(lambda: runtime.stats().chunks == 1)
    assert runtime.tick(2, observation) is not None
    assert runtime.stats().reason == "", "what is over is not told"
    assert runtime.stats().refusals == {"not finite": 1}


def test_what_is_checked_of_a_late_chunk_is_what_will_be_played(make_runtime):
    release, chunks = threading.Event(), [chunk_from(HOME, 0.05)]

    def late(_):
        if chunks:
            return chunks.pop()
        release.wait(10)
        second = chunk_from(HOME, 0.05)
        second[:, 0] += 0.4  # fits the action before it, not the state that was observed
        second[:8] = second[8]
        return second

    runtime = make_runtime(late)
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    for tick in range(1, 18):
        assert runtime.tick(tick, observation) is not None
    release.set()
    wait_for(lambda: not runtime.is_inferring)
    assert runtime.stats().refused == 0, runtime.stats().reason


def test_a_late_chunk_that_jumps_from_the_action_before_it_is_refused(make_runtime):
    release, chunks = threading.Event(), [chunk_from(HOME, 0.05)]

    def late(_):
        if chunks:
            return chunks.pop()
        release.wait(10)
        return chunk_from(HOME, -0.05)  # fits the state that was observed

    runtime = make_runtime(late)
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    for tick in range(1, 18):
        assert runtime.tick(tick, observation) is not None
    release.set()
    wait_for(lambda: not runtime.is_inferring)
    assert runtime.stats().refusals == {"far": 1}


@pytest.mark.parametrize(("begins", "refusals"), [(1.0, {}), (0.45, {"far": 1})])
def test_a_chunk_that_comes_while_the_arms_hold_must_begin_where_they_are(
    make_runtime, begins, refusals
):
    release, chunks = threading.Event(), [chunk_from(HOME, 0.05)]  # 1 rad in one second

    def late(_):
        if chunks:
            return chunks.pop()
        release.wait(10)
        return chunk_from(HOME, 0.0) + begins * chunk_from(HOME * 0.0, 1.0)[:1]

    posture = [HOME]
    runtime = make_runtime(late, measure=lambda: posture[0])
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    for tick in range(1, 25):
        action = runtime.tick(tick, lambda: Observation(state=posture[0], stamp_ns=0))
        posture[0] = posture[0] if action is None else action
    assert posture[0][0] == pytest.approx(HOME[0] + 1.0) and runtime.is_inferring
    release.set()
    wait_for(lambda: not runtime.is_inferring)
    assert runtime.stats().refusals == refusals


def test_a_chunk_that_comes_while_nobody_sees_the_arms_is_refused(make_runtime):
    stale = Refusal(stream="/left/arm/joint_states", reason="is 300 ms old", age=0.3, bound=0.2)
    runtime = make_runtime(lambda _: chunk_from(HOME), measure=lambda: stale)
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().refused == 1)
    assert runtime.tick(1, observation) is None
    assert "/left/arm/joint_states is 300 ms old" in runtime.stats().reason


@pytest.mark.parametrize("approach_step", [0.0, 0.025])
def test_a_chunk_whose_arms_are_exchanged_ends_the_old_one_and_nothing_leads_them_there(
    make_runtime, approach_step
):
    moved = chunk_from(HOME, 0.05)[9]  # the left arm went 0.5 rad, the right one stands
    exchanged = np.concatenate([moved[8:], moved[:8]])
    chunks = [chunk_from(HOME, 0.05), np.repeat(exchanged[None], 20, axis=0)]
    runtime = make_runtime(lambda _: chunks.pop(0), execute=10, approach_step=approach_step)
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    for tick in range(1, 12):
        action = runtime.tick(tick, lambda: Observation(state=moved, stamp_ns=0))
        assert action is not None
    wait_for(lambda: runtime.stats().refused == 1)
    assert runtime.tick(12, observation) is None, "the rest of the old chunk goes astray, too"
    assert runtime.stats().refusals == {"exchanged": 1}
    assert "left and right are exchanged" in runtime.stats().stuck
    assert not runtime.is_inferring


def test_a_policy_that_is_refused_again_and_again_is_stuck(make_runtime):
    leaping = chunk_from(HOME)
    leaping[5:, 2] += 0.5
    runtime = make_runtime(lambda _: leaping)
    for tick in range(MOST_VAIN):
        assert not runtime.stats().stuck
        assert runtime.tick(tick, observation) is None
        wait_for(lambda: not runtime.is_inferring)
    assert "10 chunks refused in a row: chunk refused: left_arm_3 jumps" in runtime.stats().stuck
    runtime.reset()
    assert not runtime.stats().stuck


FAR = chunk_from(HOME) + 0.5 * (np.arange(16) == 2).astype(np.float32)
"""Its first action is out of reach."""


def test_a_policy_that_begins_out_of_reach_is_stuck_at_once(make_runtime):
    runtime = make_runtime(lambda _: FAR)
    for tick in range(MOST_FAR):
        assert not runtime.stats().stuck
        assert runtime.tick(tick, observation) is None
        wait_for(lambda: not runtime.is_inferring)
    assert "left_arm_3 jumps by 0.500 rad at action 0" in runtime.stats().stuck
    assert "give approach:=true" in runtime.stats().stuck


def test_where_it_is_allowed_the_arms_go_slowly_to_a_far_first_action(make_runtime):
    """From the posture that is measured, in small steps, until a chunk can begin."""
    runtime, measured = make_runtime(lambda _: FAR, approach_step=0.02), HOME
    commands = []
    for tick in range(40):
        action = runtime.tick(
            tick,
            lambda: Observation(state=measured, stamp_ns=0),  # noqa: B023, called at once
        )
        wait_for(lambda: not runtime.is_inferring)
        if action is not None:
            commands.append(action)
            measured = action
    way = np.diff([HOME[2], *(action[2] for action in commands)])
    assert way[:5] == pytest.approx(0.02, abs=1e-6), "slowly"
    assert way.max() <= 0.35 and way.min() > -1e-6
    assert measured[2] == FAR[0, 2], "and then as the chunks say"
    assert runtime.stats().refused == 0 and not runtime.stats().stuck


def test_a_way_that_is_not_free_is_not_taken(make_runtime):
    into_itself = chunk_from(HOME)
    into_itself[:, 1] += 2.5
    runtime = make_runtime(lambda _: into_itself, approach_step=0.02)
    assert runtime.tick(0, observation) is None
    wait_for(lambda: not runtime.is_inferring)
    assert runtime.stats().chunks == 0 and runtime.stats().refused == 1


def test_an_inference_that_hangs_is_told_and_replaced(make_runtime):
    hang, time_now, chunks = threading.Event(), [0.0], [chunk_from(HOME)]

    def hangs_once(_):
        if not begun.is_set():
            begun.set()
            hang.wait(20)
        return chunks[0]

    begun = threading.Event()
    runtime = make_runtime(hangs_once, clock=lambda: time_now[0])
    runtime.tick(0, observation)
    assert begun.wait(10)
    time_now[0] = 1.1
    assert runtime.tick(22, observation) is None
    assert "inference has taken more than 1 s" in runtime.stats().reason
    time_now[0] = 5.1
    assert runtime.tick(102, observation) is None
    wait_for(lambda: runtime.stats().chunks == 1)
    assert runtime.tick(103, observation) is not None
    assert runtime.stats().reason == ""
    hang.set()


def test_a_reset_does_not_wait_for_an_inference_that_hangs(make_runtime):
    hang, time_now, begun = threading.Event(), [0.0], threading.Event()

    def hangs_once(_):
        if not begun.is_set():
            begun.set()
            hang.wait(20)
        return chunk_from(HOME)

    runtime = make_runtime(hangs_once, clock=lambda: time_now[0])
    runtime.tick(0, observation)
    assert begun.wait(10)
    time_now[0] = 1.1
    runtime.reset()
    runtime.tick(23, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    assert runtime.tick(24, observation) is not None
    hang.set()


def test_inferences_that_were_given_up_and_did_end_count_no_more(make_runtime):
    freed, time_now = [threading.Event() for _ in range(9)], [0.0]
    begun = iter(freed)

    def hangs(_):
        next(begun).wait(20)
        return chunk_from(HOME)

    def left():
        return sum(thread.name == "inference" for thread in threading.enumerate()) - others

    others = sum(thread.name == "inference" for thread in threading.enumerate())
    runtime = make_runtime(hangs, clock=lambda: time_now[0])
    for number, end in enumerate(freed):
        runtime.tick(100 * number, observation)
        wait_for(lambda: runtime._busy_since is not None)
        time_now[0] += 1.1
        runtime.reset()  # as each start, stop and takeover does
        assert not runtime.stats().stuck, number
        end.set()
        wait_for(lambda: left() == 1)


def test_an_inference_that_breaks_is_named_and_asked_again(make_runtime):
    chunks = [chunk_from(HOME)]

    def breaks_once(_):
        if runtime.stats().refused == 0:
            raise RuntimeError("out of memory")
        return chunks.pop()

    runtime = make_runtime(breaks_once)
    assert runtime.tick(0, observation) is None
    wait_for(lambda: runtime.stats().refused == 1)
    assert "out of memory" in runtime.stats().reason
    assert runtime.tick(1, observation) is None
    wait_for(lambda: runtime.stats().chunks == 1)


def test_a_stale_stream_means_hold(make_runtime):
    runtime = make_runtime(lambda _: chunk_from(HOME))
    refusal = Refusal(stream="/left/arm/joint_states", reason="is 900 ms old (bound 200 ms)")
    assert runtime.tick(0, lambda: refusal) is None
    assert "/left/arm/joint_states" in runtime.stats().reason


def test_a_chunk_from_before_a_stop_never_runs_after_it(make_runtime):
    release = threading.Event()

    def slow(_):
        release.wait(10)
        return chunk_from(HOME)

    runtime = make_runtime(slow)
    runtime.tick(0, observation)
    runtime.reset()
    release.set()
    runtime.tick(1, lambda: Refusal(stream="x", reason="y"))
    assert runtime.stats().unobserved == 1
    assert runtime.stats().refused == 0
    assert runtime.tick(2, lambda: Refusal(stream="x", reason="y")) is None


def test_the_last_chunk_runs_out_into_a_hold(make_runtime):
    runtime = make_runtime(lambda _: chunk_from(HOME))
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    gone = Refusal(stream="x", reason="gone")
    actions = [runtime.tick(tick, lambda: gone) for tick in range(1, 25)]
    assert [action is not None for action in actions] == [True] * 20 + [False] * 4


def test_a_chunk_that_is_too_short_is_refused_by_name_and_inference_goes_on(make_runtime):
    chunks = [chunk_from(HOME)[:8], chunk_from(HOME)]
    runtime = make_runtime(lambda _: chunks.pop(0))
    assert runtime.tick(0, observation) is None
    wait_for(lambda: runtime.stats().refused == 1)
    assert "holds 8 actions but execute is 10" in runtime.stats().reason
    assert runtime.tick(1, observation) is None
    wait_for(lambda: runtime.stats().chunks == 1)
    assert runtime.tick(2, observation) is not None


@pytest.mark.parametrize(("tick_rate", "horizon"), [(60.0, 20), (20.0, 8)])
def test_a_policy_of_short_chunks_moves_the_arms(make_runtime, tick_rate, horizon):
    runtime = make_runtime(lambda _: chunk_from(HOME)[:horizon], usual_execute(tick_rate, horizon))
    moved = 0
    for tick in range(3 * horizon):
        moved += runtime.tick(tick, observation) is not None
        wait_for(lambda: not runtime.is_inferring)
    assert moved >= 3 * horizon - 4, "a tick of rest before each chunk at most"
    assert runtime.stats().refused == 0


def test_inference_is_given_the_rows_that_are_played_meanwhile(make_runtime):
    given = []

    def infer(_, **going_on):
        given.append(going_on)
        return chunk_from(HOME)

    runtime = make_runtime(infer, mode="rtc")
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    for tick in range(1, 12):
        runtime.tick(tick, observation)
    wait_for(lambda: runtime.stats().chunks == 2)
    assert given[0] == {}, "nothing was played"
    old = given[1]["continuation"]
    np.testing.assert_allclose(old.actions, chunk_from(HOME)[10:])
    assert old.delay == runtime.stats().delay_ticks == 1
