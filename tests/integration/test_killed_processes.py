"""Killing or stalling one process in motion: the arms stop, nothing jumps, the launch recovers.

A few processes in one launch; `python -m benchmarks.kill_matrix` takes them all.
"""

import tempfile
from pathlib import Path

import pytest

from benchmarks.kill_matrix import BOUND, KILL, STALL, Case, Matrix

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
def matrix():
    """Runs cases, one launch for as many as it survives; a case that is repeated runs anew."""
    with (
        tempfile.TemporaryDirectory(prefix="ate-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ATE_RUNTIME_DIR", f"{folder}/run")
        with Matrix(Path(folder), BOUND + SLACK) as matrix:
            yield matrix


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.names[0])
def test_one_process_fails_in_motion_and_all_is_as_expected(case, matrix):
    result = matrix.run(case)
    assert result.wrong == (), result
