"""What a new chunk has to go on with: which rows, how late, in whose units."""

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import LayoutError, UsageError
from ate_core.observation import Observation
from ate_policy.chunking import ActionQueue, ChunkingConfig
from ate_policy.continuation import WINDOW, Continuation, DelayEstimate
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.models.interface import ChunkModel
from ate_policy.policy import Policy
from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics

RTC = {"mode": "rtc", "execute": 10}


def chunk(observed, horizon=20):
    """Each action carries the tick it belongs to."""
    return np.arange(observed + 1, observed + 1 + horizon, dtype=np.float32)[:, None]


def play(queue, ticks):
    for tick in ticks:
        queue.action(tick)


def test_a_chunk_goes_on_with_what_would_be_played_without_it():
    queue = ActionQueue(ChunkingConfig(**RTC, expected_delay=3))
    assert queue.continuation(0) is None, "nothing is played"
    queue.add(chunk(0), 0)
    play(queue, range(1, 12))
    old = queue.continuation(10)
    assert old.actions[:, 0].tolist() == list(range(11, 21))
    assert old.delay == 3, "nothing was measured yet"


def test_ticks_at_which_the_arms_held_do_not_shift_the_old_rows():
    queue = ActionQueue(ChunkingConfig(**RTC))
    queue.mark_requested(0)
    play(queue, range(1, 5))  # nothing to play
    queue.add(chunk(0), 0)
    play(queue, range(5, 9))
    assert queue.last[0] == 4
    assert queue.continuation(8).actions[0, 0] == 5
    assert queue.continuation(8).delay == 4, "from the observation to the chunk, holds included"


@pytest.mark.parametrize(("mode", "through_network"), [("rtc", False), ("rtc_jacobian", True)])
def test_the_mode_says_how_the_old_rows_draw(mode, through_network):
    queue = ActionQueue(ChunkingConfig(mode=mode, execute=10))
    queue.add(chunk(0), 0)
    play(queue, range(1, 5))
    assert queue.continuation(4).through_network == through_network
    policy = echo(())
    old = Continuation(actions=np.zeros((12, 16)), delay=3, through_network=through_network)
    policy.infer(Observation(state=np.zeros(16, np.float32), stamp_ns=0), 0, old)
    assert policy._model.told.through_network == through_network


@pytest.mark.parametrize("mode", ["synchronous", "temporal_ensemble"])
def test_other_modes_go_on_with_nothing(mode):
    queue = ActionQueue(ChunkingConfig(mode=mode, execute=10))
    queue.add(chunk(0), 0)
    play(queue, range(1, 5))
    assert queue.continuation(4) is None


def test_a_chunk_that_was_played_out_is_not_gone_on_with():
    queue = ActionQueue(ChunkingConfig(**RTC))
    queue.add(chunk(0), 0)
    play(queue, range(1, 21))
    assert queue.continuation(20) is None
    queue.add(chunk(20), 20)
    queue.reset()
    assert queue.continuation(21) is None


def test_the_delay_follows_what_is_measured_and_one_late_chunk_alone_changes_nothing():
    delay = DelayEstimate(expected=2)
    assert delay.ticks == 2
    delay.measured(5)
    assert delay.ticks == 5, "a measurement counts at once"
    for _ in range(WINDOW):
        delay.measured(3)
    assert delay.ticks == 3
    delay.measured(12)
    assert delay.ticks == 3
    for _ in range(2):
        delay.measured(6)
    assert delay.ticks == 6, "a delay that jumps is followed"


def test_old_chunks_that_nothing_can_go_on_with_are_refused():
    broken = np.zeros((3, 16))
    broken[1, 2] = np.nan
    with pytest.raises(LayoutError, match="entry 2 of row 1 of the old chunk is not finite"):
        Continuation(actions=broken, delay=1)
    with pytest.raises(LayoutError, match=r"shape \(0, 16\)"):
        Continuation(actions=np.zeros((0, 16)), delay=1)
    with pytest.raises(UsageError, match="delay is -1"):
        Continuation(actions=np.zeros((2, 16)), delay=-1)


class Echo(FlowPolicy):
    """Its chunk is what it was told to go on with; `told` is where."""

    def sample(self, inputs, noise, old=None):
        self.told = old
        return noise if old is None else old.rows


def echo(relative, **sizes):
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=16), rng.uniform(0.2, 2.0, 16)
    one = VectorStatistics(mean=tuple(mean), std=tuple(std), q01=(-1.0,) * 16, q99=(1.0,) * 16)
    statistics = Statistics(state=one, action=one, relative=relative)
    contract = load_cell(hardware="sim").canonical_text()
    return Policy(
        "flow", Echo(FlowPolicyConfig(**sizes)), ChunkTransform(statistics), contract, {}
    )


@pytest.mark.parametrize("relative", [(), (0, 1, 2, 8, 9)])
def test_an_old_chunk_is_seen_from_the_new_posture(relative):
    policy, rng = echo(relative), np.random.default_rng(1)
    actions = rng.uniform(0.0, 1.0, (12, 16)).astype(np.float32)
    for _ in range(2):  # whatever the posture is by then
        state = rng.normal(size=16).astype(np.float32)
        again = policy.infer(
            Observation(state=state, stamp_ns=0), 0, Continuation(actions=actions, delay=4)
        )
        np.testing.assert_allclose(again[:12], actions, atol=1e-5)
        weights = policy._model.told.weights
        assert (weights[:4] == 1.0).all() and (weights[12:] == 0.0).all()


@pytest.mark.parametrize(("delay", "prefix"), [(0, 0), (3, 3), (4, 4), (5, 0), (30, 0)])
def test_a_network_is_given_no_more_rows_than_it_was_trained_to_be(delay, prefix):
    """With more, or none, it is guided instead."""
    policy = echo((), max_delay=4)
    old = Continuation(actions=np.zeros((12, 16)), delay=delay)
    policy.infer(Observation(state=np.zeros(16, np.float32), stamp_ns=0), 0, old)
    assert policy._model.told.prefix == prefix


def test_a_policy_that_cannot_go_on_or_has_another_layout_says_so(monkeypatch):
    observation = Observation(state=np.zeros(16, np.float32), stamp_ns=0)
    with pytest.raises(LayoutError, match="14 entries per action, the policy 16"):
        echo(()).infer(observation, 0, Continuation(actions=np.zeros((3, 14)), delay=1))
    monkeypatch.setattr(Echo, "continues", ChunkModel.continues)
    with pytest.raises(UsageError, match="cannot go on with a chunk"):
        echo(()).infer(observation, 0, Continuation(actions=np.zeros((3, 16)), delay=1))


def test_an_instruction_given_on_the_way_is_checked():
    with pytest.raises(UsageError, match="reads no instruction"):
        echo(()).require_instruction("lift the lid")
    policy = echo(())
    policy.config = FlowPolicyConfig(language=True)
    policy.require_instruction("lift the lid")  # it was not recorded what it was trained with
    policy.training["instructions"] = ["lift the lid"]
    assert policy.require_instruction("Lift the  lid ") == "lift the lid"
    for unknown in ("put the lid back", " "):
        with pytest.raises(UsageError, match="never trained: give one of"):
            policy.require_instruction(unknown)
