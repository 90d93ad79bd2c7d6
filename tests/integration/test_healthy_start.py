"""A healthy start of the simulated teleoperation cell: READY once, and no alarm."""

import re

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(120)]

ALARM = re.compile(
    r"WARN|ERROR|FATAL|DEGRADED|Traceback|cannot be|not found|went silent|open the|hangs|killed"
)
"""Levels of both loggers, and words that only troubles have."""


def test_a_healthy_start_says_ready_once_and_gives_no_alarm(launch_cell, tmp_path):
    cell = launch_cell("ate_teleop", "dual_operator.launch.py", f"output:={tmp_path / 'bags'}")
    cell.wait_for(lambda: "READY" in cell.log(), "READY", 90)
    lines = cell.log().splitlines()
    (ready,) = [line for line in lines if "READY" in line]
    assert "ate teleop-keys" in ready and "ate stop" in ready
    assert [line for line in lines if ALARM.search(line)] == []
    assert cell.interrupt() < 5.0
    assert cell.process.returncode == 0
    assert cell.log().count("READY") == 1
