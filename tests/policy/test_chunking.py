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
    with pytest.raises(UsageError, match="chunk mode is 'newest'"):
        ChunkingConfig(mode="newest", execute=10)


@pytest.mark.parametrize(
    ("tick_rate", "horizon", "executed"),
    [(20.0, 20, 10), (60.0, 60, 30), (60.0, 20, 20), (20.0, 8, 8)],
)
def test_half_a_second_of_a_chunk_is_executed_but_never_more_than_it_holds(
    tick_rate, horizon, executed
):
    assert usual_execute(tick_rate, horizon) == executed
