"""A command behind a pseudo-terminal, and the keys that a person would press."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable

NEW_LINE = "\r\x1b[K"
"""What begins a line that is written over the one before."""


class Terminal:
    """`ate` with these words in a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ate_bringup.cli", *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def type_until(
        self,
        keys: bytes,
        condition: Callable[[], object],
        pause: float = 0.05,
        timeout: float = 30.0,
    ) -> None:
        """Press keys, at this pause [s], until a condition holds.

        Raises:
            AssertionError: it does not hold in time [s], or the command ends before.
        """
        deadline, due = time.monotonic() + timeout, 0.0
        while not condition():
            now = time.monotonic()
            assert now < deadline and self.process.poll() is None, self.text[-3000:]
            if now >= due:
                self.type(keys)
                due = now + pause
            self.read()

    def read(self) -> None:
        """Take what was printed, until it pauses."""
        while select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 4096).decode()

    def line(self) -> str:
        """The line that is shown now."""
        return self.text.rsplit(NEW_LINE, 1)[-1]

    def close(self) -> None:
        """End the command, if it runs, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
