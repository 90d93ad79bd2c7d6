"""A newcomer's first session at the simulated cell, as docs/first_day.md tells it."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.live_cell import TELEOP
from benchmarks.terminal import Terminal

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

PAGE_UP = b"\x1b[5~"
PATIENCE = 2.0
"""Before a key that seems to have done nothing is pressed again [s]."""


def ate(*words):
    """Run `ate` and return its exit code and what it printed."""
    command = [sys.executable, "-m", "ate_bringup.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def terminal(tmp_path):
    opened = []

    def open_terminal(*words):
        opened.append(Terminal(*words))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def test_a_newcomer_moves_records_labels_discards_and_finds_with_keys_alone(
    launch_cell, terminal, tmp_path
):
    bags = tmp_path / "bags"
    cell = launch_cell(*TELEOP, f"output:={bags}")
    cell.wait_for(lambda: "READY: `ate teleop-keys` moves the arms" in cell.log(), "READY", 90)
    assert f"episodes go to {bags}" in cell.log()
    world = cell.world()
    start = world.read()["left_q"].copy()

    keys = terminal("teleop-keys", "--cell", str(tmp_path / "cell.yaml"))
    keys.type_until(b"", lambda: "clutch open" in keys.line())
    keys.type_until(b"r", lambda: "RECORDING" in keys.line(), pause=PATIENCE)

    engaged_at = 0.0

    def moved():
        """Whether the arm has followed; a clutch that a busy machine opened is closed again."""
        nonlocal engaged_at
        if "clutch engaged" in keys.line():
            engaged_at = time.monotonic()
        elif time.monotonic() - engaged_at > PATIENCE:
            keys.type(b" ")
            engaged_at = time.monotonic()
        return np.abs(world.read()["left_q"] - start).max() > 0.1

    keys.type_until(PAGE_UP, moved, timeout=60)
    keys.type_until(b"s", lambda: "waits: k keeps, d discards" in keys.line(), pause=PATIENCE)

    code, told = ate("status")
    assert code == 1 and "episode_000000 waits to be kept or discarded" in told
    assert "left arm" in told and "Hz" in told
    assert ate("episode", "label", "first try") == (0, "episode_000000 kept (first try)\n")

    keys.type_until(b"", lambda: "not recording" in keys.line())
    keys.type_until(b" ", lambda: "clutch open" in keys.line(), pause=PATIENCE)
    keys.type_until(b"r", lambda: "RECORDING" in keys.line(), pause=PATIENCE)
    code, told = ate("episode", "stop")
    assert code == 1 and "episode_000001 is empty and was set aside: no arm was commanded" in told
    keys.type_until(b"", lambda: "not recording" in keys.line())
    keys.type(b"q")
    assert keys.process.wait(30) == 0

    code, told = ate("episode", "list", "--json")
    found = [(one["number"], one["outcome"], one["task"]) for one in json.loads(told)]
    assert found == [
        (0, "first try", "pick_place"),
        (1, "discarded", "pick_place"),
    ]
    cell.process.send_signal(signal.SIGINT)
    assert cell.process.wait(20) == 0, "a stop on purpose is no failure"
    kept = sorted(path.name for path in bags.glob("episode_*"))
    assert kept == ["episode_000000", "episode_000001.discarded"]
