"""Children of a launch: quiet until they answer signals, and never without their parent."""

import os
import signal
import subprocess
import sys

import psutil

from ate_core.child import PARENT_VARIABLE, child_command

PARENT = """
import os, subprocess, sys
from ate_core.child import child_environment
child = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1]], env={**os.environ, **child_environment()}
)
print(child.pid, flush=True)
child.wait()
"""
DEAF = """
import signal, time
from ate_core import child
child.LOOK_PERIOD = child.END_BY_FORCE = 0.05
signal.signal(signal.SIGINT, signal.SIG_IGN)
child.end_with_parent()
time.sleep(600)
"""
SIGNALLED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.kill(os.getpid(), signal.SIGINT)
os.execv(sys.executable, sys.argv[1:])
"""
"""Becomes the command that is given, with a signal that waits."""


def start(module: str, **options) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        child_command(module, ["1"]), stdout=-1, stderr=-1, text=True, **options
    )


def test_a_signal_before_the_first_line_of_a_child_ends_it_without_a_word(tmp_path):
    command = [sys.executable, "-c", SIGNALLED, *child_command("asked")]
    (tmp_path / "asked.py").write_text("print('begun')")
    child = subprocess.Popen(command, stdout=-1, stderr=-1, text=True, cwd=tmp_path)
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == -signal.SIGINT


def test_a_child_is_the_module_that_was_asked_for(tmp_path):
    (tmp_path / "asked.py").write_text("import sys\nprint(__name__, sys.argv[1:], __spec__.name)")
    child = start("asked", cwd=tmp_path)
    assert child.communicate(timeout=60)[0] == "__main__ ['1'] asked\n"


def test_a_child_whose_parent_is_gone_before_it_begins_does_not_begin(tmp_path):
    (tmp_path / "asked.py").write_text("print('begun')")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    child = start("asked", cwd=tmp_path, env={**os.environ, PARENT_VARIABLE: str(gone.pid)})
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 1


def test_a_child_that_does_not_hear_of_its_parents_end_is_ended_by_force():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, DEAF], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    gone, _ = psutil.wait_procs([child], timeout=60)
    assert gone
