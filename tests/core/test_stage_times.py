"""How long stages take: what is kept, what is told of it, and what counts as too long."""

import itertools

import numpy as np
import pytest

from ate_core.stage_times import DRIVER_STAGES, OPERATOR_STAGES, StageTimes, bounds, level


def test_each_stage_and_the_whole_way_are_told_in_their_order():
    times = StageTimes(("wake", "ik"), 1000)
    for way in range(200):
        late = 9_000_000 if way >= 197 else 0
        times.keep(way, {"wake": way + 1_000_000 + late, "ik": way + 1_500_000 + late})
    assert list(times.summary().items()) == [
        ("wake", (1.0, 10.0)),
        ("ik", (0.5, 0.5)),
        ("total", (1.5, 10.5)),
    ]
    assert "of 200: wake 1.00/10.00, ik 0.50/0.50, total" in times.sentence()


def test_a_way_that_went_elsewhere_is_not_kept_and_nothing_is_told_of_none():
    times = StageTimes(("wake", "ik"), 10)
    times.keep(0, {"wake": 5})
    assert len(times) == 0 and times.summary() == {}
    assert "none yet" in times.sentence()


def test_the_newest_ways_push_out_the_oldest_and_old_ones_can_be_left_out():
    times = StageTimes(("wake",), 10)
    for way in range(25):
        times.keep(1000 * way, {"wake": 1000 * way + 1_000_000 * way})
    assert len(times) == 10
    assert times.summary()["wake"] == (20.0, 24.0)
    assert times.summary(23_022_999)["wake"] == (24.0, 24.0)
    assert times.summary(10**12) == {}


@pytest.mark.parametrize("way", [OPERATOR_STAGES, DRIVER_STAGES])
@pytest.mark.parametrize("place", range(4))
def test_a_stage_is_well_within_its_bounds_and_wrong_beyond_twice_one_of_them(way, place):
    stage = ([*way, "total"])[min(place, len(way))]
    most = np.array(bounds(stage, way))
    assert level(stage, way, *most) == "ok"
    for which, factor in itertools.product((0, 1), (1.5, 2.5)):
        told = level(stage, way, *(most * np.where(np.arange(2) == which, factor, 1.0)))
        assert told == ("warn" if factor < 2 else "error")


def test_a_command_that_waits_for_a_tick_of_its_driver_is_well_and_a_slow_pose_is_not():
    waited = {"receipt": (5.8, 10.6), "filter": (0.1, 0.1), "wire": (0.5, 1.0)}
    stages = {**waited, "total": (6.4, 11.2)}  # of a cell at rest on two cores
    assert {level(stage, stages, *times) for stage, times in stages.items()} == {"ok"}
    assert level("total", OPERATOR_STAGES, 6.4, 11.2) == "error"
