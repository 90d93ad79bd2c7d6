"""A stream at fault is told once, and once more when it is there again."""

import logging

import numpy as np
import pytest

from ate_core.observation import Observation, Refusal
from ate_policy.chunk_check import ChunkLimits
from ate_policy.chunking import ActionQueue, ChunkingConfig
from ate_policy.runtime import PolicyRuntime
from ate_policy.stream_trouble import StreamTrouble

SEEN = Observation(state=np.zeros(2, np.float32), stamp_ns=0)


def late(stream, age):
    return Refusal(stream=stream, reason=f"is {age * 1e3:.0f} ms old", age=age, bound=0.5)


@pytest.fixture
def runtime():
    limits = ChunkLimits(
        lower=np.full(2, -9.0), upper=np.full(2, 9.0), step=np.full(2, 9.0), names=("a", "b")
    )
    runtime = PolicyRuntime(
        lambda _: np.zeros((4, 2), np.float32), limits, ActionQueue(ChunkingConfig(execute=2))
    )
    yield runtime
    runtime.close()


@pytest.mark.parametrize(
    "stream",
    [
        "/scene/objects",
        "/cameras/overhead/image_raw/compressed",
        "/left/arm/joint_states",
        "/right/gripper/joint_states",
    ],
)
def test_a_stream_that_stays_away_is_one_line_and_its_return_another(stream, runtime, caplog):
    caplog.set_level(logging.INFO)
    trouble = StreamTrouble()
    for tick in range(100):
        runtime.tick(tick, lambda tick=tick: trouble.take(late(stream, 0.5 + 0.05 * tick)))
    assert trouble.stream == stream
    assert runtime.stats().reason == f"no observation: {stream} is 500 ms old"
    trouble.take(SEEN)
    assert [record.getMessage() for record in caplog.records] == [
        f"no observation: {stream} is 500 ms old",
        f"{stream} is there again",
    ]
    assert trouble.stream == ""


def test_another_stream_at_fault_is_told_as_well():
    trouble = StreamTrouble()
    assert str(trouble.take(late("/a", 0.6))) == str(trouble.take(late("/a", 0.7)))
    assert "/b" in str(trouble.take(late("/b", 0.8))) and trouble.stream == "/b"
