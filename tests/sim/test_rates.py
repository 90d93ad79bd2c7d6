"""Simulated time is the stamped time, whatever the tick rate."""

import dataclasses

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import ContractError
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.tick_timing import TickTiming

RATES = (5.0, 7.0, 12.5, 15.0, 20.0, 24.0, 29.97, 30.0, 45.0, 50.0, 60.0)


def env_at(rate: float, **options: float) -> CellEnv:
    cell = dataclasses.replace(load_cell(hardware="sim"), tick_rate=rate)
    return CellEnv("pick_place", cell, **options)


@pytest.mark.parametrize("timestep", [0.002, 0.004])
@pytest.mark.parametrize("rate", RATES)
def test_simulated_time_is_ticks_over_rate(rate: float, timestep: float) -> None:
    env = env_at(rate, timestep=timestep)
    observation = env.reset(0)
    for tick in range(1, 41):
        observation = env.step(observation.state)
        assert abs(env.world.time - tick / rate) <= 0.5 * timestep + 1e-9
        assert observation.stamp_ns == round(tick / rate * 1e9)


@pytest.mark.parametrize("rate", RATES)
def test_nothing_adds_up_over_days(rate: float) -> None:
    timing = TickTiming(tick_rate=rate, stream_rate=100.0, timestep=0.002)
    for tick in (10**3, 10**5, 10**7):
        assert abs(timing.steps_at(tick / rate) * 0.002 - tick / rate) <= 0.001 + 1e-9


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("stream", [50.0, 90.0, 100.0])
def test_targets_are_sent_at_the_rate_of_the_cell_whatever_the_tick(
    rate: float, stream: float
) -> None:
    timing = TickTiming(tick_rate=rate, stream_rate=stream, timestep=0.002)
    moments = [
        tick / rate + offset for tick in range(300) for offset in timing.stream_offsets(tick)
    ]
    np.testing.assert_allclose(moments, np.arange(1, len(moments) + 1) / stream, atol=1e-9)
    assert len(moments) == pytest.approx(300 / rate * stream, abs=1.0)


def test_a_tick_of_20_hz_has_five_targets_and_25_steps() -> None:
    timing = TickTiming(tick_rate=20.0, stream_rate=100.0, timestep=0.002)
    for tick in range(1000):
        now = tick * 0.05
        assert timing.steps_at(now) == 25 * tick
        # Bit for bit, so that recorded seeds give the episodes they always gave.
        assert timing.stream_offsets(tick) == [0.05 * piece / 5 for piece in range(1, 6)]


# Below 10 Hz a command comes later than safety.command_timeout: the arm brakes between two, and
# the expert's faster strokes get away from it.
@pytest.mark.parametrize("rate", [10.5, 30.0, 60.0])
def test_expert_does_the_task_at_other_rates_and_repeats(rate: float) -> None:
    runs = []
    for _ in range(2):
        env = env_at(rate)
        states = [env.reset(3).state]
        player = ExpertPlayer(env, 3)
        states += [env.step(player.action(tick)).state for tick in range(player.ticks)]
        assert env.success()
        assert env.refusals == 0
        runs.append(np.stack(states))
    assert np.array_equal(*runs)


@pytest.mark.parametrize("rate", [4.9, 60.5, 0.0, -20.0])
def test_a_tick_rate_out_of_range_is_refused_with_its_bounds(rate: float) -> None:
    bounds = "5 to 60" if rate > 0.0 else "> 0"  # below, it is no rate in a recording, either
    with pytest.raises(ContractError, match=rf"tick_rate is {rate} Hz; need {bounds}"):
        env_at(rate)
