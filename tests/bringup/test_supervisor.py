"""`ate launch` stops everything it started, whoever ends it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: (print("stopped", sys.argv[1], flush=True), sys.exit(0)))
print("started", sys.argv[1], flush=True)
time.sleep(float(sys.argv[2]))
"""

LAUNCHER = """
import sys
from ate_bringup.specs import ProcessSpec
from ate_bringup.supervisor import supervise
def spec(name, seconds, **kw):
    return ProcessSpec(name=name, module="supervised_child", is_node=False,
                       arguments=(name, str(seconds)), **kw)
sys.exit(supervise([spec("one", 600), spec("two", 600), {third}]))
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "supervised_child.py").write_text(CHILD)
    started = []

    def start(third):
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER.replace("{third}", third)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stderr=(tmp_path / "output").open("wb"),
        )
        started.append(process)
        return process, tmp_path / "output"

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()


def wait_for(output: Path, words: str, deadline: float = 30.0) -> None:
    end = time.monotonic() + deadline
    while words not in output.read_text():
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_process_within_five_seconds(start, number):
    process, output = start('spec("three", 600)')
    for name in ("one", "two", "three"):
        wait_for(output, f"started {name}")
    children = psutil.Process(process.pid).children(recursive=True)
    begin = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 0
    assert time.monotonic() - begin < 5.0
    assert not [child for child in children if child.is_running()]
    for name in ("one", "two", "three"):
        assert f"stopped {name}" in output.read_text()


def test_the_launch_ends_with_the_process_that_ends_it(start):
    process, output = start('spec("three", 1, ends_launch=True)')
    assert process.wait(30) == 0
    assert "three has finished" in output.read_text()
    assert "stopped one" in output.read_text()


def test_the_launch_fails_when_the_process_that_ends_it_fails(start):
    process, output = start('spec("three", "soon", ends_launch=True)')
    assert process.wait(30) == 1
    assert "three has finished with code 1" in output.read_text()


def test_a_killed_supervisor_leaves_nothing_behind(start):
    process, output = start('spec("three", 600)')
    for name in ("one", "two", "three"):
        wait_for(output, f"started {name}")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 3 and not alive


def test_a_respawned_process_comes_back(start):
    process, output = start('spec("three", 0.2, respawn=True)')
    end = time.monotonic() + 30
    while output.read_text().count("started three") < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(10)
