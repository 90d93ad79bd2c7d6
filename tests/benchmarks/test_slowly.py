"""Clocks that run slower: every clock tells the same, and no wait ends early."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import slowly as command
from benchmarks.slowly import main, rate_of_this_machine, slow_clocks

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

RATE, WAIT = 0.25, 0.1
PROGRAM = Path(__file__).with_name("timed_waits.py")


def test_no_wait_ends_before_its_time_by_either_clock():
    with slow_clocks(RATE) as clocks:
        words = [sys.executable, str(PROGRAM), str(WAIT)]
        done = subprocess.run(words, env=clocks, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert len(told) == 13
    for way, (seconds, true) in told.items():
        assert seconds >= WAIT - 0.002, way  # poll and epoll count milliseconds
        assert true >= WAIT / RATE - 0.03, way  # hundredths are all that the kernel tells


def test_all_clocks_of_all_processes_lag_alike():
    words = "import time; print(time.monotonic_ns(), time.time_ns(), time.clock_gettime_ns(7))"
    with slow_clocks(RATE) as clocks:
        begin = time.monotonic_ns()
        apart = time.time_ns() - begin
        seen = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", words],
                env=clocks,
                capture_output=True,
                text=True,
                check=True,
            )
            seen.append([int(word) for word in done.stdout.split()])
        true = time.monotonic_ns() - begin
    first, last = seen[0][0] - begin, seen[-1][0] - begin
    assert 0 < first < last <= true * RATE + 2e7  # compiled before the first look at the clock
    for monotonic, wall, boot in seen:
        assert wall - monotonic == pytest.approx(apart, abs=2e7)
        assert boot >= monotonic


@pytest.fixture
def slowly(monkeypatch):
    """The command line, with words of its own."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["slowly", *words])
        return main()

    return run


def test_what_the_command_says_and_how_it_ends_pass_through(slowly, capfd):
    words = (sys.executable, "-c", "import sys; print('so'); sys.exit(3)")
    assert slowly("0.5", *words) == 3
    assert capfd.readouterr().out == "so\n"


@pytest.mark.parametrize("rate", ["0", "2", "nan"])
def test_a_rate_that_is_none_is_refused(slowly, rate):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        slowly(rate, "true")


def test_without_a_command_it_says_what_is_missing(slowly, capsys):
    with pytest.raises(SystemExit):
        slowly("0.5")
    assert "no command: name one after the rate" in capsys.readouterr().err


def test_a_rate_that_is_no_number_is_refused_with_what_is_needed(slowly, capsys):
    with pytest.raises(SystemExit):
        slowly("half", "true")
    assert (
        "rate 'half': a number above 0 and at most 1 is needed, or auto" in capsys.readouterr().err
    )


CLOCK = (
    sys.executable,
    "-c",
    "import os; print(os.environ.get('SLOW_CLOCK', 'own').split()[0])",
)


@pytest.mark.parametrize(("rate", "clock"), [(1.0, "own"), (0.5, "0.5")])
def test_clocks_go_slower_only_on_a_machine_that_needs_it(slowly, monkeypatch, capfd, rate, clock):
    monkeypatch.setattr(command, "rate_of_this_machine", lambda: rate)
    assert slowly("auto", *CLOCK) == 0
    told = capfd.readouterr()
    assert told.out == f"{clock}\n"
    assert (f"clocks go at {rate} of their speed" in told.err) == (rate < 1.0)


def test_without_a_compiler_a_slow_machine_is_told_and_goes_on(slowly, monkeypatch, capfd):
    monkeypatch.setattr(command, "rate_of_this_machine", lambda: 0.4)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert slowly("auto", *CLOCK) == 0
    told = capfd.readouterr()
    assert told.out == "own\n"
    assert "no C compiler (cc): clocks go on, where 0.4 would do" in told.err


@pytest.mark.parametrize(("need", "rate"), [(1.0, 1.0), (1e15, 0.2)])
def test_the_rate_is_what_the_processors_can_do_within_bounds(monkeypatch, need, rate):
    monkeypatch.setattr(command, "NEED", need)
    assert rate_of_this_machine() == rate


STOPPED = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("cleaned up", flush=True), sys.exit(4)))
signal.signal(signal.SIGINT, lambda *_: (print("interrupted", flush=True), sys.exit(5)))
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("number", "to_group", "told", "code"),
    [
        (signal.SIGTERM, False, "cleaned up", 4),
        (signal.SIGINT, True, "interrupted", 5),
        (signal.SIGKILL, None, "", 128 + signal.SIGKILL),
    ],
)
def test_a_stop_ends_the_command_and_waits_for_it(number, to_group, told, code):
    program = "import os; print(os.getpid(), flush=True)\n" + STOPPED
    words = [sys.executable, "-m", "benchmarks.slowly", "0.5", sys.executable, "-c", program]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        child = int(running.stdout.readline())
        assert running.stdout.readline() == "ready\n"
        if to_group is None:
            os.kill(child, number)
        elif to_group:
            os.killpg(running.pid, number)
        else:
            running.send_signal(number)
        assert running.stdout.read().strip() == told
        assert running.wait() == code
