import numpy as np
import pytest

from ate_core.errors import LayoutError, UsageError
from ate_policy.chunking import ActionQueue, ChunkingConfig, usual_execute


def chunk(observed, horizon=20):
    """Each action carries the tick it belongs to."""
    return np.arange(observed + 1, observed + 1 + horizon, dtype=np.float32)[:, None]


def queue(**settings):
    return ActionQueue(ChunkingConfig(**{"execute": 10, **settings}))


def test_an_empty_queue_means_hold():
    assert queue().action(3) is None
    assert queue().depth(3) == 0


def test_every_action_is_executed_at_the_tick_it_belongs_to():
    actions = queue(execute=10)
    for tick in range(100):
        if actions.wants_chunk(tick):
            actions.mark_requested(tick)
            actions.add(chunk(tick), tick)
        assert actions.action(tick + 1) == tick + 1


def test_a_new_chunk_is_wanted_after_the_executed_part():
    actions = queue(execute=10)
    assert actions.wants_chunk(0)
    actions.mark_requested(0)
    actions.add(chunk(0), 0)
    assert [tick for tick in range(13) if actions.wants_chunk(tick)] == [10, 11, 12]


def test_a_late_chunk_starts_with_the_action_that_is_due():
    actions = queue()
    actions.mark_requested(0)
    actions.add(chunk(0), 0)
    actions.mark_requested(10)
    assert actions.action(14) == 14  # the old chunk bridges the time until the new one comes
    actions.add(chunk(10), 10)
    assert actions.action(15) == 15
    assert actions.depth(15) == 15


def test_a_chunk_that_was_waited_for_at_rest_begins_with_its_first_action():
    actions = queue()
    actions.mark_requested(0)
    assert [actions.action(tick) for tick in range(1, 7)] == [None] * 6
    actions.add(chunk(0), 0)
    assert [float(actions.action(tick)[0]) for tick in range(7, 10)] == [1.0, 2.0, 3.0]
    assert actions.depth(9) == 17


def test_a_chunk_that_comes_after_the_last_one_ran_out_goes_on_where_that_ended():
    actions = queue()
    actions.mark_requested(0)
    actions.add(chunk(0), 0)
    for tick in range(1, 11):
        actions.action(tick)
    actions.mark_requested(10)
    assert [actions.action(tick) is None for tick in range(11, 24)] == [False] * 10 + [True] * 3
    actions.add(chunk(10), 10)
    assert actions.action(24) == 21, "ten were executed since its observation, three held"


def test_a_chunk_that_is_awaited_when_all_are_dropped_begins_with_its_first_action():
    actions = queue()
    actions.add(chunk(0), 0)
    for tick in range(1, 14):
        actions.action(tick)
    actions.mark_requested(13)
    actions.action(14)
    actions.hold()  # the action of tick 14 is refused
    assert [actions.action(tick) for tick in range(15, 25)] == [None] * 10
    actions.add(chunk(13), 13)
    assert actions.action(25) == 14


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (6, 6), (7, 5), (13, 5)])
def test_after_a_gap_in_which_the_drivers_held_a_chunk_goes_on_where_it_was(asked, given):
    actions = queue(longest_gap=2)
    actions.mark_requested(0)
    actions.add(chunk(0), 0)
    assert [float(actions.action(tick)[0]) for tick in range(1, 5)] == [1.0, 2.0, 3.0, 4.0]
    assert actions.action(asked) == given
    assert actions.action(asked + 1) == given + 1


def test_an_action_that_was_not_sent_is_given_anew():
    actions = queue(longest_gap=2)
    actions.add(chunk(0), 0)
    assert actions.action(1) == 1 and actions.action(2) == 2
    actions.withhold()
    assert actions.action(3) == 2
    actions.withhold()
    assert actions.action(9) == 2 and actions.action(10) == 3


def test_a_chunk_that_comes_after_its_end_is_never_executed():
    actions = queue()
    actions.add(chunk(0), 0)
    assert actions.action(21) is None
    assert actions.depth(21) == 0


def test_a_chunk_overtaken_by_a_newer_one_is_dropped():
    actions = queue()
    actions.add(chunk(10), 10)
    actions.add(chunk(0), 0)
    assert actions.action(5) is None
    assert actions.action(11) == 11


def test_no_second_chunk_is_wanted_while_one_is_inferred():
    actions = queue(execute=10)
    actions.mark_requested(0)
    assert not actions.wants_chunk(1)
    actions.abandon_request()
    assert actions.wants_chunk(1)


def test_a_reset_forgets_everything():
    actions = queue()
    actions.mark_requested(0)
    actions.add(chunk(0), 0)
    actions.reset()
    assert actions.action(1) is None
    assert actions.wants_chunk(1)


def test_the_ensemble_is_the_weighted_mean_of_overlapping_chunks():
    actions = queue(mode="temporal_ensemble", execute=5, ensemble_decay=0.5)
    actions.add(np.full((20, 2), 1.0), 0)
    actions.add(np.full((20, 2), 3.0), 5)
    weights = np.exp([0.0, -0.5])
    expected = (weights[0] * 1.0 + weights[1] * 3.0) / weights.sum()
    np.testing.assert_allclose(actions.action(10), expected)
    np.testing.assert_allclose(actions.action(22), 3.0)  # the older chunk has ended


def test_the_queue_keeps_its_own_copy():
    actions, mine = queue(), chunk(0)
    actions.add(mine, 0)
    mine[:] = -1.0
    actions.action(1)[:] = -2.0
    assert actions.action(1) == 1


def test_wrong_chunks_and_settings_are_refused():
    with pytest.raises(LayoutError, match=r"shape \(16,\)"):
        queue().add(np.zeros(16), 0)
    with pytest.raises(UsageError, match="lower execute"):
        queue(execute=10).add(np.zeros((8, 16)), 0)
    with pytest.raises(UsageError, match="execute is 0"):
        ChunkingConfig(execute=0)
    with pytest.raises(UsageError, match="longest_gap is 0"):
        ChunkingConfig(execute=10, longest_gap=0)
    with pytest.raises(UsageError, match="chunk mode is 'newest'"):
        ChunkingConfig(mode="newest", execute=10)


@pytest.mark.parametrize(
    ("tick_rate", "horizon", "executed"),
    [(20.0, 20, 13), (60.0, 60, 39), (60.0, 20, 20), (20.0, 8, 8)],
)
def test_two_thirds_of_a_second_of_a_chunk_are_executed_but_never_more_than_it_holds(
    tick_rate, horizon, executed
):
    assert usual_execute(tick_rate, horizon) == executed


def test_chunks_that_go_on_with_each_other_overlap_by_half():
    for mode in ("rtc", "rtc_jacobian", "temporal_ensemble"):
        assert usual_execute(20.0, 20, mode) == 10


@pytest.mark.parametrize(("execute", "delay"), [(10, 3), (13, 6), (20, 1), (20, 8), (8, 9)])
def test_the_next_chunk_is_asked_for_before_the_old_one_is_played_out(execute, delay):
    late = ActionQueue(ChunkingConfig(execute=execute, expected_delay=delay))
    late.mark_requested(0)
    late.add(np.zeros((20, 1)), 0)
    coming = None
    for tick in range(60):
        if coming is None and late.wants_chunk(tick):
            late.mark_requested(tick)
            coming = tick
        if coming is not None and tick - coming >= delay:
            late.add(np.zeros((20, 1)), coming)
            coming = None
        assert late.action(tick + 1) is not None, f"held at {tick}"


RESTING = np.clip(0.1 * (np.arange(1, 21) - 8.0), 0.0, 1.0)[:, None]
"""What a network without a memory plans at a gripper that is shut: it rests for 0.4 s, as the
experts do, and opens it then."""
LETS_GO = 0.35
"""Opening at which a gripper lets go of what it holds."""


@pytest.mark.parametrize("delay", [0, 1, 3, 6])
def test_a_policy_that_rests_before_it_opens_a_gripper_gets_past_its_rest(delay):
    """With 10 actions of each chunk and a delay of up to a tick it rests for ever."""
    assert opening_reached(usual_execute(20.0, 20), delay) > LETS_GO
    assert (opening_reached(10, delay) > LETS_GO) == (delay > 1)


def opening_reached(execute, delay):
    """Largest opening in ten seconds."""
    player = ActionQueue(ChunkingConfig(execute=execute, expected_delay=delay))
    reached, coming = 0.0, None
    for tick in range(200):
        if coming is None and player.wants_chunk(tick):
            player.mark_requested(tick)
            coming = tick
        if coming is not None and tick - coming >= delay:
            player.add(RESTING, coming)
            coming = None
        action = player.action(tick + 1)
        reached = reached if action is None else max(reached, float(action[0]))
    return reached
