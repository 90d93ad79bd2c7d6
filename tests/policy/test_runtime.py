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
from ate_policy.runtime import PolicyRuntime

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

    def make(infer, execute=10):
        made.append(PolicyRuntime(infer, LIMITS, ActionQueue(ChunkingConfig(execute=execute))))
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
    # Observed at tick 0: at tick 5 the action of tick 6, which is row 5, is published.
    np.testing.assert_allclose(runtime.tick(5, observation), chunk_from(HOME)[5])


def test_a_refused_chunk_means_hold_and_a_new_request(make_runtime):
    chunks = [np.full((20, 16), np.nan, np.float32), chunk_from(HOME)]
    runtime = make_runtime(lambda _: chunks.pop(0))
    assert runtime.tick(0, observation) is None
    wait_for(lambda: runtime.stats().refused == 1)
    assert "not finite" in runtime.stats().last_reason
    assert runtime.tick(1, observation) is None
    wait_for(lambda: runtime.stats().chunks == 1)
    assert runtime.tick(2, observation) is not None


def test_an_inference_that_breaks_is_named_and_asked_again(make_runtime):
    chunks = [chunk_from(HOME)]

    def breaks_once(_):
        if runtime.stats().refused == 0:
            raise RuntimeError("out of memory")
        return chunks.pop()

    runtime = make_runtime(breaks_once)
    assert runtime.tick(0, observation) is None
    wait_for(lambda: runtime.stats().refused == 1)
    assert "out of memory" in runtime.stats().last_reason
    assert runtime.tick(1, observation) is None
    wait_for(lambda: runtime.stats().chunks == 1)


def test_a_stale_stream_means_hold(make_runtime):
    runtime = make_runtime(lambda _: chunk_from(HOME))
    refusal = Refusal(stream="/left/arm/joint_states", reason="is 900 ms old (bound 200 ms)")
    assert runtime.tick(0, lambda: refusal) is None
    assert "/left/arm/joint_states" in runtime.stats().last_reason


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
    wait_for(lambda: runtime.stats().refused == 1)
    assert runtime.tick(2, lambda: Refusal(stream="x", reason="y")) is None


def test_the_last_chunk_runs_out_into_a_hold(make_runtime):
    runtime = make_runtime(lambda _: chunk_from(HOME))
    runtime.tick(0, observation)
    wait_for(lambda: runtime.stats().chunks == 1)
    gone = Refusal(stream="x", reason="gone")
    actions = [runtime.tick(tick, lambda: gone) for tick in range(1, 25)]
    assert [action is not None for action in actions] == [True] * 19 + [False] * 5


def test_a_chunk_that_is_too_short_is_refused_by_name_and_inference_goes_on(make_runtime):
    chunks = [chunk_from(HOME)[:8], chunk_from(HOME)]
    runtime = make_runtime(lambda _: chunks.pop(0))
    assert runtime.tick(0, observation) is None
    wait_for(lambda: runtime.stats().refused == 1)
    assert "holds 8 actions but execute is 10" in runtime.stats().last_reason
    assert runtime.tick(1, observation) is None
    wait_for(lambda: runtime.stats().chunks == 1)
    assert runtime.tick(2, observation) is not None


@pytest.mark.parametrize(("tick_rate", "horizon"), [(60.0, 20), (20.0, 8)])
def test_a_policy_of_short_chunks_moves_the_arms(make_runtime, tick_rate, horizon):
    runtime = make_runtime(lambda _: chunk_from(HOME)[:horizon], usual_execute(tick_rate, horizon))
    for tick in range(0, 3 * horizon, horizon):
        runtime.tick(tick, observation)
        wait_for(lambda wanted=tick // horizon + 1: runtime.stats().chunks == wanted)
        assert runtime.tick(tick + 1, observation) is not None
    assert runtime.stats().refused == 0
