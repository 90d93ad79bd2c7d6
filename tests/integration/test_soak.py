"""The soak: its judges, and a short form of the run."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import SoakConfig, soak
from benchmarks.soak_processes import ProcessBounds, Series, judge
from benchmarks.soak_topics import judge as judge_topic


def series(**changes) -> Series:
    """Ten minutes of a process whose memory only trembles."""
    looks = np.arange(120)
    noise = np.random.default_rng(0).normal(0.0, 0.5, 120)
    values = {
        "times": 5.0 * looks,
        "memory": 80.0 + noise,
        "cpu": 0.5 * looks,
        "descriptors": np.full(120, 20),
        "threads": np.full(120, 12),
    } | changes
    return Series(name="one", **{name: list(some) for name, some in values.items()})


def verdict(**changes) -> str:
    return judge(series(**changes), ProcessBounds(), 0.2).verdict


def test_growth_of_each_kind_is_told_and_trembling_is_not():
    looks, steady = np.arange(120), series()
    report = judge(steady, ProcessBounds(), 0.2)
    assert report.verdict == "stable" and report.cpu == pytest.approx(10.0)
    assert verdict(memory=np.array(steady.memory) + 0.1 * looks) == "memory grows"
    assert verdict(descriptors=20 + looks // 20) == "descriptors grow"
    assert verdict(threads=12 + looks // 30) == "threads grow"


def test_growth_at_the_start_counts_as_warming_up():
    assert verdict(memory=80.0 + np.minimum(np.arange(120), 20)) == "stable"


def test_missing_numbers_are_drops_and_pauses_of_a_commander_are_no_periods():
    heard = [(n, 11_000_000 * n) for n in range(1000)]
    end = 15_000_000_000
    assert judge_topic("/left/arm/joint_command", heard, 0.001, end).verdict == "complete"
    later = [(n, stamp + 3_000_000_000) for n, stamp in heard[500:]]
    paused = judge_topic("/left/arm/joint_command", heard[:500] + later, 0.001, end)
    assert (paused.dropped, paused.longest_ms) == (0, 11.0)
    some = [one for one in heard if one[0] % 100]
    lossy = judge_topic("/left/arm/joint_states", some, 0.001, 11_000_000_000)
    assert (lossy.dropped, lossy.verdict) == (9, "9 dropped, bound 0.1%")


def test_a_topic_that_ends_or_pauses_for_seconds_is_not_complete():
    heard = [(n, 11_000_000 * n) for n in range(1000)]
    later = [(n, stamp + 5_000_000_000) for n, stamp in heard[500:]]
    ended = judge_topic("/left/arm/joint_states", heard, 0.001, 30_000_000_000)
    paused = judge_topic("/left/arm/joint_states", heard[:500] + later, 0.001, 16_000_000_000)
    assert (ended.verdict, paused.verdict) == ("silent for 19 s", "silent for 5 s")


@pytest.mark.ros
@pytest.mark.slow
def test_a_quarter_of_a_minute_measures_every_process_and_topic(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        monkeypatch.setenv("ATE_RUNTIME_DIR", f"{folder}/run")
        report = soak(SoakConfig(minutes=0.25, small=True), Path(folder))
    names = [one.name for one in report.processes]
    assert names.count("link") == 2 and "left driver_node" in names and len(names) > 20
    assert all(one.cpu > 0.0 and "ended" not in one.verdict for one in report.processes)
    assert all(one.messages > 0 for one in report.topics) and len(report.topics) == 9
    assert report.restarts == [] and len(report.loops) >= 4
