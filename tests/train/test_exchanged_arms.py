"""The benchmark that counts what the comparison of two arms says of recorded episodes."""

import dataclasses

from benchmarks.exchanged_arms import Count, Options, count, first_motion, main, spoken
from training.data.trajectory import read_trajectories


def test_sound_episodes_are_silent_and_exchanged_ones_are_told(episodes, capsys):
    found = count(read_trajectories(episodes))
    assert (found.false_alarms, found.told, found.episodes) == (0, 3, 3)
    assert 0 < found.latest < 20 and found.ticks > 100
    assert main(Options(episodes=(episodes,))) == 0
    assert "0 false alarms; exchanged, told in 3" in capsys.readouterr().out


def test_an_arm_that_answers_for_the_other_is_a_false_alarm_of_the_count(episodes):
    [one, *_] = read_trajectories(episodes)
    half = one.state.shape[1] // 2
    crossed = dataclasses.replace(one, state=one.state[:, [*range(half, 2 * half), *range(half)]])
    assert spoken(crossed, exchanged=False)[0] > first_motion(crossed)
    assert spoken(crossed, exchanged=True) == []
    assert isinstance(count([crossed]), Count) and count([crossed]).false_alarms > 0
