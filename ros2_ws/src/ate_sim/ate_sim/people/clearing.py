"""What people do about an arm that follows nobody: go to the terminal, clear and enable it."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from ate_sim.people.script import Script

LOG = logging.getLogger(__name__)
TIMEOUT = 30.0
"""Longest time at the terminal [s]."""


class Clearing(Protocol):
    """Makes arms follow again that had stopped."""

    def clear(self) -> Script[int]:
        """Clear what can be cleared; returns how many arms were."""


class TerminalClearing:
    """Lets `ate_sim.nodes.arm_clearing` ask the drivers, in a process of its own."""

    def __init__(self, cell: Path | None) -> None:
        """Prepare; `cell` is the file of the cell, None: the packaged one."""
        self._words = [sys.executable, "-m", "ate_sim.nodes.arm_clearing"]
        self._words += [] if cell is None else ["--cell", str(cell)]

    def clear(self) -> Script[int]:
        """Clear what can be cleared; returns how many arms were. Hands go on meanwhile."""
        with subprocess.Popen(self._words, stdout=subprocess.PIPE, text=True) as process:
            try:
                started = now = yield
                while process.poll() is None and now - started < TIMEOUT:
                    now = yield
            finally:
                process.kill()
            assert process.stdout is not None
            cleared = process.stdout.read().splitlines()
        for line in cleared:
            LOG.info("%s", line)
        return len(cleared)
