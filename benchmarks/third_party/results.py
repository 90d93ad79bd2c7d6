"""Outcomes of paired roll-outs: rates with intervals, paired comparisons, a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from training.evaluation.comparison import compare, success_rate

Trials = Sequence[Mapping[str, Any]]
"""What `play.roll_out` gives, in the order of the seeds."""


def summarise(trials: Trials) -> dict[str, Any]:
    """Success rate with its 95 % Wilson interval, and how long successes took."""
    rate = success_rate(sum(trial["success"] for trial in trials), len(trials))
    ticks = sorted(trial["ticks"] for trial in trials if trial["success"])
    return {
        "successes": rate.successes,
        "trials": rate.trials,
        "low": rate.low,
        "high": rate.high,
        "text": str(rate),
        "median_ticks": ticks[len(ticks) // 2] if ticks else None,
        "refused_chunks": sum(trial["refused"] for trial in trials),
    }


def contrast(first: Sequence[Trials], second: Sequence[Trials]) -> dict[str, Any]:
    """Exact McNemar test of two policies on equal starts, several training seeds in a row."""
    outcomes = [
        [bool(trial["success"]) for trials in group for trial in trials]
        for group in (first, second)
    ]
    result = compare(*outcomes)
    return {
        "only_first": result.only_first,
        "only_second": result.only_second,
        "p_value": result.p_value,
        "text": str(result),
    }


def make_table(task: str, rates: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line per policy."""
    table = Table("policy", "success", "median ticks to success", "refused chunks", title=task)
    for name, rate in rates.items():
        table.add_row(name, rate["text"], str(rate["median_ticks"]), str(rate["refused_chunks"]))
    return table
