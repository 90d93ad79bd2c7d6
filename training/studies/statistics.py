"""Statistics of a study: rates per arm, and paired differences that respect training seeds.

Rollouts of one training run are no independent evidence about a method: they share a network.
So a difference is given twice: with Student's interval over the means of the runs (wide for
three of them, and the one to believe), and as the exact McNemar test pooled over all pairs, which
speaks about these very networks only. A bootstrap over runs and starts is not given: with three
runs its interval holds the truth in 87-92 % only, where Student's does in 94-97 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ate_core.errors import UsageError
from training.evaluation.comparison import PairedComparison, Rate, compare, success_rate
from training.evaluation.intervals import FEWEST_RUNS, Interval, mean_interval
from training.studies.rollout import Trial


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean of paired differences, second minus first, over training runs."""

    mean: float
    """Over runs of equal weight."""
    per_run: tuple[float, ...]
    """Mean of each run."""
    over_runs: Interval | None
    """95 % interval of Student's t over the means of the runs; None for fewer than three."""


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm at one checkpoint, pooled over training runs."""

    rate: Rate
    """Success, with the Wilson interval that takes rollouts as independent."""
    per_run: tuple[float, ...]
    """Success rate of each run."""
    score: float
    """Mean graded score."""
    jerk: float
    """Median jerk [rad/s^3]."""
    refused: float
    """Mean number of refused chunks per rollout."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One arm against plain fine-tuning, on equal starts."""

    success: Difference
    """Of the success rate."""
    score: Difference
    """Of the graded score."""
    jerk: Difference
    """Of the natural logarithm of the jerk."""
    test: PairedComparison
    """Plain first, pooled over runs."""


def arm_result(runs: Sequence[Sequence[Trial]]) -> ArmResult:
    """Pool the rollouts of one arm's training runs."""
    trials = [trial for run in runs for trial in run]
    return ArmResult(
        rate=success_rate(sum(trial.success for trial in trials), len(trials)),
        per_run=tuple(float(np.mean([trial.success for trial in run])) for run in runs),
        score=float(np.mean([trial.score for trial in trials])),
        jerk=float(np.median([trial.jerk for trial in trials])),
        refused=float(np.mean([trial.refused for trial in trials])),
    )


def contrast(plain: Sequence[Sequence[Trial]], other: Sequence[Sequence[Trial]]) -> Contrast:
    """Compare training runs in equal order, rollout by rollout.

    Args:
        plain: rollouts per run, the ones compared with.
        other: the same for the arm.
    """
    pairs = [list(zip(a, b, strict=True)) for a, b in zip(plain, other, strict=True)]
    for a, b in (pair for run in pairs for pair in run):
        if a.seed != b.seed:
            raise UsageError(f"start {a.seed} is paired with {b.seed}: roll out equal starts")

    return Contrast(
        success=paired_difference(
            [[float(b.success) - a.success for a, b in run] for run in pairs]
        ),
        score=paired_difference([[b.score - a.score for a, b in run] for run in pairs]),
        jerk=paired_difference([[_log_jerk(b) - _log_jerk(a) for a, b in run] for run in pairs]),
        test=compare(
            [a.success for run in pairs for a, _ in run],
            [b.success for run in pairs for _, b in run],
        ),
    )


def paired_difference(runs: Sequence[Sequence[float]]) -> Difference:
    """Mean over runs and its interval.

    Args:
        runs: paired differences of each training run, as many in each.
    """
    means = [float(np.mean(run)) for run in runs]
    return Difference(
        mean=float(np.mean(means)),
        per_run=tuple(means),
        over_runs=mean_interval(means, FEWEST_RUNS),
    )


def _log_jerk(trial: Trial) -> float:
    return math.log(max(trial.jerk, 1e-6))
