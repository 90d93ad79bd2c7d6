"""Intervals hold the truth as often as they say, and equal policies are seldom told apart."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from ate_core.errors import UsageError
from benchmarks import coverage
from training.evaluation.comparison import compare, success_rate
from training.evaluation.intervals import difference_interval, mean_interval
from training.evaluation.required_trials import (
    Pair,
    power,
    sequential_outlook,
    trials_for_difference,
    trials_for_half_width,
)
from training.evaluation.sequential import StoppingRule, anytime_p_value, log_evidence
from training.studies.statistics import paired_difference


@pytest.mark.parametrize("trials", [20, 50, 100])
def test_intervals_of_rates_hold_the_truth_in_93_to_97_of_100(trials):
    found = [success_rate(k, trials) for k in range(trials + 1)]
    low, high = np.array([(one.low, one.high) for one in found]).T
    rates = np.linspace(0.01, 0.99, 197)[:, None]
    held = (low <= rates) & (rates <= high)
    covered = (binom.pmf(np.arange(trials + 1), trials, rates) * held).sum(axis=1)
    assert 0.93 < covered.mean() < 0.97
    assert np.quantile(covered, 0.05) > 0.925


def test_intervals_of_paired_differences_hold_the_truth_in_93_to_97_of_100():
    line = coverage.tango(30, 400, np.random.default_rng(0))
    assert line.holds
    assert min(line.values) > 0.90  # 400 flips each


def test_intervals_over_three_training_runs_hold_the_truth():
    line = coverage.over_runs(3, 20, 300, np.random.default_rng(1))
    assert line.holds


def test_an_interval_over_too_few_runs_is_not_given():
    assert mean_interval([0.1, 0.2], fewest=3) is None
    assert paired_difference([[0.0, 1.0]] * 2).over_runs is None


def score(first, second, trials, delta):
    """Rao's score test of a difference, with the nuisance share found by search."""
    share = np.linspace(max(0.0, -delta), (1 - delta) / 2, 200_001)[1:-1]  # only second succeeds
    likely = first * np.log(share + delta) + second * np.log(share)
    likely += (trials - first - second) * np.log(1 - 2 * share - delta)
    best = share[likely.argmax()]
    variance = (2 * best + delta - delta**2) / trials
    return ((first - second) / trials - delta) / math.sqrt(variance)


@pytest.mark.parametrize(("first", "second", "trials"), [(12, 2, 50), (3, 5, 20), (9, 1, 100)])
def test_the_interval_of_a_paired_difference_ends_where_the_score_test_rejects(
    first, second, trials
):
    low, high = difference_interval(first, second, trials)
    assert score(first, second, trials, low) == pytest.approx(1.96, abs=1e-3)
    assert score(first, second, trials, high) == pytest.approx(-1.96, abs=1e-3)


def test_an_interval_of_a_difference_is_given_at_its_ends_too():
    low, high = difference_interval(0, 0, 20)
    assert low == pytest.approx(-high) and 0.1 < high < 0.2
    assert difference_interval(20, 0, 20)[1] == 1.0
    assert difference_interval(0, 20, 20)[0] == -1.0


@pytest.mark.parametrize(("first", "second"), [(7, 3), (0, 5), (12, 12)])
def test_exchanged_policies_have_the_mirrored_interval(first, second):
    low, high = difference_interval(first, second, 40)
    assert difference_interval(second, first, 40) == pytest.approx((-high, -low))


def test_the_evidence_of_fair_coins_is_one_on_average():
    # a martingale that begins at 1: its mean over all outcomes of n fair flips stays 1
    for flips in (1, 5, 40):
        wins = np.arange(flips + 1)
        chances = binom.pmf(wins, flips, 0.5)
        assert chances @ np.exp(log_evidence(wins, flips - wins)) == pytest.approx(1.0)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_equal_policies_are_told_apart_at_most_as_often_as_alpha_says(alpha):
    # exactly, every pair differing, a look after each of 600
    equal = Pair(first=0.5, second=0.5)
    outlook = sequential_outlook(equal, 600, StoppingRule(alpha=alpha))
    assert 0.2 * alpha < outlook.decided <= alpha


def test_looking_at_mcnemars_test_after_every_pair_would_cry_wolf():
    # why the rule exists: the same looks at the fixed test
    flips = np.random.default_rng(0).random((200, 100)) < 0.5
    wins = np.cumsum(flips, axis=1)
    counts = np.arange(1, 101)
    tail = 2 * binom.cdf(np.minimum(wins, counts - wins), counts, 0.5)
    assert (tail <= 0.05).any(axis=1).mean() > 0.2


def test_the_rule_says_which_one_is_better_and_when_going_on_is_in_vain():
    rule = StoppingRule()
    assert rule.better(0, 0) == rule.better(3, 3) == ""
    assert rule.better(12, 0) == "first" and rule.better(1, 15) == "second"
    assert rule.is_open(0, 0, left=20) and not rule.is_open(5, 5, left=3)
    assert anytime_p_value(12, 0) < 0.05 and anytime_p_value(4, 4) == 1.0
    with pytest.raises(UsageError, match=r"alpha is 1\.5"):
        StoppingRule(alpha=1.5)


def test_power_is_that_of_the_test_which_will_be_made():
    pair, trials = Pair(first=0.5, second=0.8, correlation=0.2), 12
    chance = 0.0  # by all outcomes
    for a, b in itertools.product(range(trials + 1), repeat=2):
        if a + b <= trials:
            ways = math.comb(trials, a) * math.comb(trials - a, b)
            likely = pair.only_first**a * pair.only_second**b
            likely *= (1 - pair.differing) ** (trials - a - b)
            significant = a + b and binomtest(a, a + b).pvalue <= 0.05
            chance += ways * likely * bool(significant)
    assert power(pair, trials) == pytest.approx(chance)


def test_coins_show_the_power_that_was_computed():
    pair = Pair(first=0.6, second=0.85)
    trials = trials_for_difference(pair)
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(300):
        first, second = rng.random(trials) < pair.first, rng.random(trials) < pair.second
        found += compare(first.tolist(), second.tolist()).p_value <= 0.05
    assert found / 300 == pytest.approx(0.8, abs=0.07)


def test_policies_that_fail_together_need_fewer_trials():
    apart, together = (Pair(first=0.6, second=0.8, correlation=c) for c in (0.0, 0.5))
    assert trials_for_difference(together) < trials_for_difference(apart)


def test_trials_for_an_interval_are_the_fewest():
    trials = trials_for_half_width(0.5, 0.1)
    rate = success_rate(trials // 2, trials)
    assert (rate.high - rate.low) / 2 <= 0.1
    assert trials_for_half_width(0.5, 1e-4) is None


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"first": 1.5, "second": 0.5}, "first is 1.5"),
        ({"first": 0.5, "second": 0.9, "correlation": 0.9}, r"must lie in 0 to 0\.33"),
        ({"first": 0.5, "second": float("nan")}, "second is nan"),
    ],
)
def test_impossible_rates_are_refused(words, what):
    with pytest.raises(UsageError, match=what):
        Pair(**words)
