"""The benchmark of inverse kinematics follows every path."""

import numpy as np

from benchmarks.ik import PATHS, IkBenchmark, run_path

UNREACHED = {"fast": 0.03, "limits": 0.06, "past reach": 0.25, "edge": 0.03}
"""Largest error of paths that ask for what the arm cannot do [m]."""


def test_every_path_is_timed_and_followed_as_far_as_the_arm_can():
    for name in PATHS:
        ours = run_path(name, IkBenchmark(seconds=1.5, rounds=1))["ours"]
        assert (ours.times > 0.0).all()
        assert np.percentile(ours.error, 99) < UNREACHED.get(name, 0.06), name
        assert np.median(ours.error) < UNREACHED.get(name, 1e-4), name
