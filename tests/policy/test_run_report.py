"""A run of a policy is told in one sentence, and in figures."""

import json

import numpy as np
import pytest

from ate_core.loop import LoopStats
from ate_policy.chunk_check import ChunkLimits
from ate_policy.run_report import RunMeter, RunReport
from ate_policy.runtime import RuntimeStats

LIMITS = ChunkLimits(
    lower=np.full(2, -9.0),
    upper=np.full(2, 9.0),
    step=np.array([0.35, np.inf]),
    names=("left_arm_1", "left_gripper"),
)


def metered(steps):
    """A meter that was told (action of the joint or None, observed) at one tick after another."""
    meter = RunMeter(LIMITS)
    for tick, (joint, observed) in enumerate(steps):
        action = None if joint is None else np.array([joint, tick % 2], np.float32)
        meter.note(action, tick, observed)
    return meter.measures()


def test_a_seam_is_the_largest_step_of_a_joint_from_one_chunk_to_the_next():
    measures = metered([(0.0, 0), (0.1, 0), (0.3, 1), (0.4, 1), (0.45, 4)])
    assert measures["seam_max_rad"] == pytest.approx(0.2)
    assert measures["seam_median_rad"] == pytest.approx(0.125)


def test_a_step_across_a_hold_is_no_seam():
    assert np.isnan(metered([(0.0, 0), (None, 0), (0.3, 3)])["seam_max_rad"])


def test_actions_are_as_old_as_the_observation_behind_them():
    measures = metered([(0.0, 0), (0.1, 0), (0.2, 0)])
    assert measures["action_age_median_ticks"] == 2.0


def test_a_run_says_its_rate_misses_ages_inference_seams_refusals_and_holds():
    report = RunReport(
        loop=LoopStats(ticks=990, period_ms=50.0, median_ms=50.0, p99_ms=50.7, misses=10),
        runtime=RuntimeStats(
            chunks=99, refused=3, refusals={"jump": 2, "limit": 1}, unobserved=4, held=21,
            inference_ms=31.0, inference_p99_ms=44.0, queue_depth=7,
            action_age_ticks=3, delay_ticks=1, reason="", stuck="",
        ),
        measures=metered([(0.0, 0), (0.1, 0), (0.3, 1)]),
        paused_ticks=6,
        takeovers=2,
    )  # fmt: skip
    assert report.sentence() == (
        "990 ticks at 20 Hz: period median 50.00 ms, p99 50.70 ms, 10 missed (19.80 Hz), "
        "actions 2 ticks old (p99 2), "
        "99 chunks at 31.0 ms each (p99 44.0 ms), seams 0.200 rad (largest 0.200), refused: "
        "2 jump, 1 limit; held for 21 ticks, 6 more for a device, 4 without an observation, "
        "2 takeovers"
    )
    told = json.loads(json.dumps(report.as_dict()))
    assert told["loop"]["misses"] == 10 and told["runtime"]["refusals"] == {"jump": 2, "limit": 1}
    assert report.values()["refused"] == "2 jump, 1 limit"
