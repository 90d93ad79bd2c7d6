"""Killing or stalling one process in motion: the arms stop, nothing jumps, the launch recovers.

A few processes in one launch; `python -m benchmarks.kill_matrix` takes them all.
"""

import tempfile
from pathlib import Path

import pytest

from benchmarks.kill_matrix import BOUND, KILL, STALL, Case, run

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

SLACK = 0.1
"""What a busy machine may add: trace, signal and process switches [s]."""
CASES = [
    Case(names=("operator",), stall=STALL),
    Case(names=("arm driver",), stall=STALL),
    Case(names=("arm emulator",), stall=STALL),
    Case(names=("link",), stall=KILL),
    Case(names=("scene",), stall=KILL),
    Case(names=("world",), stall=KILL),
]


@pytest.fixture(scope="module")
def results():
    """Result of each case, by the name of its process."""
    with (
        tempfile.TemporaryDirectory(prefix="ate-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ATE_RUNTIME_DIR", f"{folder}/run")
        return {one.process: one for one in run(Path(folder), CASES, BOUND + SLACK)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.names[0])
def test_one_process_fails_in_motion_and_all_is_as_expected(case, results):
    result = results[case.names[0]]
    assert result.wrong == (), result
