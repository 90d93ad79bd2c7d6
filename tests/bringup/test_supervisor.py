"""`ate launch` stops everything it started, whoever ends it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ate_bringup.restarts import RestartConfig, Restarts, describe_exit, kills_for_memory
from ate_bringup.specs import ProcessSpec

CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: (print("stopped", sys.argv[1], flush=True), sys.exit(0)))
print("started", sys.argv[1], flush=True)
time.sleep(float(sys.argv[2]))
"""

LOADING = """
import time
print("loading for a while", flush=True)
time.sleep(600)
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


def test_a_signal_that_comes_while_a_process_is_loaded_prints_no_traceback(start, tmp_path):
    (tmp_path / "loading.py").write_text(LOADING)
    process, output = start('ProcessSpec(name="three", module="loading", is_node=False)')
    wait_for(output, "loading for a while")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Traceback" not in output.read_text()


def test_a_signal_that_comes_while_processes_start_is_not_forgotten(start):
    process, output = start('*[spec(f"n{i}", 600) for i in range(20)]')
    wait_for(output, "started one")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0, "a stop on purpose is no failure"


def test_the_launch_ends_with_the_process_that_ends_it(start):
    process, output = start('spec("three", 1, ends_launch=True, finishes=True)')
    assert process.wait(30) == 0
    assert "three has finished" in output.read_text()
    assert "stopped one" in output.read_text()


def test_the_launch_fails_when_the_process_that_ends_it_fails(start):
    process, output = start('spec("three", "soon", ends_launch=True)')
    assert process.wait(30) == 1
    assert "three has ended with code 1: stopping the launch" in output.read_text()


def test_a_killed_supervisor_leaves_nothing_behind(start):
    process, output = start('spec("three", 600)')
    for name in ("one", "two", "three"):
        wait_for(output, f"started {name}")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 3 and not alive


def test_a_killed_process_is_named_by_its_signal_and_started_again(start):
    process, output = start('spec("three", 600, respawn=True, loss="no pictures")')
    wait_for(output, "started three")
    (victim,) = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "three" in child.cmdline()
    ]
    victim.kill()
    wait_for(output, "three was killed by SIGKILL (no pictures): starting it again in 0.3 s")
    end = time.monotonic() + 30
    while output.read_text().count("started three") < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "code 0" not in output.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0, "a stop on purpose is no failure"
    assert "stopped three" in output.read_text()


def test_processes_that_end_at_once_are_all_started_again(start):
    names = [f"n{number}" for number in range(6)]
    process, output = start(f"*[spec(name, 600, respawn=True) for name in {names}]")
    for name in names:
        wait_for(output, f"started {name}")
    for child in psutil.Process(process.pid).children(recursive=True):
        if set(names) & set(child.cmdline()):
            child.kill()
    for name in names:
        wait_for(output, f"{name} was killed")
    end = time.monotonic() + 30
    while any(output.read_text().count(f"started {name}") < 2 for name in names):
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_a_process_that_must_not_end_is_told_and_makes_the_launch_fail(start):
    process, output = start('spec("three", 600, loss="nothing is recorded")')
    wait_for(output, "started three")
    for child in psutil.Process(process.pid).children(recursive=True):
        if "three" in child.cmdline():
            child.terminate()
    wait_for(output, "three was killed by SIGTERM (nothing is recorded)")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 1


def test_a_process_that_keeps_ending_is_started_ever_later_and_then_given_up():
    spec = ProcessSpec(name="three", module="m", respawn=True, loss="no pictures")
    restarts = Restarts(spec, RestartConfig(attempts=6))
    verdicts = [restarts.ended(1, 0.5) for _ in range(7)]
    delays = [verdict.restart_after for verdict in verdicts]
    assert delays == pytest.approx([0.3, 0.6, 1.2, 2.4, 4.8, 9.6, None])
    assert verdicts[-1].failed and "for the 7th time in a row: given up" in verdicts[-1].text
    assert not any(verdict.failed for verdict in verdicts[:-1])
    assert restarts.ended(-9, 60.0).restart_after == 0.3, "a good life makes up for all of them"


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "has finished"), (3, "has ended with code 3"), (-9, "was killed by SIGKILL")],
)
def test_how_a_process_ended_is_told_by_name(code, words):
    assert describe_exit(code) == words
    assert describe_exit(-200) == "was killed by signal 200"


@pytest.mark.parametrize(
    ("code", "finishes", "words", "failed"),
    [
        (0, True, "three has finished", False),
        (0, False, "three was told to stop, not by the launch", True),
        (2, True, "three has ended with code 2", True),
        (-9, False, "three was killed by SIGKILL", True),
        (-11, False, "three was killed by SIGSEGV", True),
    ],
)
def test_a_launch_fails_unless_what_ends_it_had_done_its_work(code, finishes, words, failed):
    spec = ProcessSpec(name="three", module="m", ends_launch=True, finishes=finishes)
    verdict = Restarts(spec).ended(code, 5.0)
    assert verdict.text == f"{words}: stopping the launch"
    assert verdict.failed == failed and verdict.ends_launch


def test_a_process_that_the_kernel_killed_for_want_of_memory_is_told_so():
    kills = iter([4, 5, 5])
    restarts = Restarts(
        ProcessSpec(name="three", module="m", respawn=True), kills=lambda: next(kills)
    )
    assert "killed by the kernel: the machine is out of memory" in restarts.ended(-9, 1.0).text
    assert "was killed by SIGKILL" in restarts.ended(-9, 1.0).text, "nothing more was counted"


def test_the_kernels_counter_of_kills_is_read_where_there_is_one(tmp_path, monkeypatch):
    counters = tmp_path / "vmstat"
    monkeypatch.setattr("ate_bringup.restarts.KERNEL_COUNTERS", counters)
    assert kills_for_memory() == 0
    counters.write_text("nr_free_pages 17\noom_kill 3\noom_kill_disable 1\n")
    assert kills_for_memory() == 3
