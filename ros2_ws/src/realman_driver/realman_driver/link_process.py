"""The link process as its node keeps it: replaced whenever it ends or falls silent."""

import dataclasses
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from realman_driver import records
from realman_driver.records import RecordError
from realman_driver.sdk import LinkConfig

log = logging.getLogger(__name__)

RETRY_PERIOD = 0.3
"""Wait after a link process that never had a link [s]."""
AGAIN_PERIOD = 0.05
"""Wait after one that had a link [s]."""
START_TIMEOUT = 10.0
"""A new process must say that it lives within this time; a busy machine starts it slowly [s]."""
SILENCE_TIMEOUT = 0.6
"""A process that says nothing for this long is killed and replaced [s]."""
LISTEN_TIMEOUT = 0.05
"""How often that silence is looked at [s]."""
END_TIMEOUT = 0.6
"""How long a process that is to be replaced may take to bring its arm to rest [s]."""
CLOSE_TIMEOUT = 1.2
"""Longest wait for the link process at the end [s]: one stop, and the arm at rest."""


def _wait_for_end(process: "subprocess.Popen[bytes]") -> int:
    """Let a process bring its arm to rest, then kill it; the exit code."""
    stopped = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    try:
        if os.waitid(os.P_PID, process.pid, stopped | os.WEXITED) is None:
            return process.wait(END_TIMEOUT)
    except (ChildProcessError, subprocess.TimeoutExpired):
        pass
    process.kill()  # it hangs, is stopped and can do nothing for its arm, or has ended
    return process.wait()


class LinkProcess:
    """One process after the other, in a thread of its own. Sending never waits for them."""

    def __init__(
        self,
        config: LinkConfig,
        take: Callable[[records.Report], None],
        lose: Callable[[str], bool],
        end: Callable[[str, bool], None],
    ) -> None:
        """Prepare; `start` begins.

        Args:
            config: what the process must know of its arm.
            take: takes what the process reports.
            lose: told at once that a process is given up, and why; whether there was a link.
            end: told that it ended, why, and whether there was a link.
        """
        self._config = config
        self._take, self._lose, self._end = take, lose, end
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="arm link", daemon=True)
        self.channel: socket.socket | None = None
        """To the present process; it never blocks."""
        self.send_failed = False
        """Whether the present process took no orders."""
        self.started = self.lost_records = 0
        """Processes so far, and reports that nobody understood."""
        self.first_epoch = 0
        """Where the count of the present one begins; no two links share an epoch."""

    @property
    def closing(self) -> bool:
        """Whether no other process follows."""
        return self._closing.is_set()

    def start(self) -> None:
        """Keep a process from now on."""
        self._thread.start()

    def close(self) -> None:
        """Let the process bring its arm to rest, and end."""
        self._closing.set()
        self.send(records.pack_end())
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT + 1.0)

    def send(self, record: bytes) -> bool:
        """Never waits; a full socket says that the link process does not read."""
        channel = self.channel
        if channel is None:
            return False
        try:
            channel.send(record)
        except OSError:
            self.send_failed = True
            return False
        return True

    def _keep(self) -> None:
        while not self._closing.is_set():
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with there:
                process = self._start_process(there)
            here.settimeout(LISTEN_TIMEOUT)
            # A second object of the same socket: with a time limit, sending would wait too.
            sender = here.dup()
            sender.setblocking(False)
            self.send_failed, self.channel = False, sender
            reason = self._listen(here)
            self.channel = None
            sender.close()
            was_linked = self._lose(reason)
            here.close()  # a process that still lives brings its arm to rest now
            code = _wait_for_end(process)
            if reason == "ended" and code < 0:
                reason = f"ended by signal {-code}"
            self._end(reason, was_linked)
            self._closing.wait(AGAIN_PERIOD if was_linked else RETRY_PERIOD)

    def _start_process(self, channel: socket.socket) -> "subprocess.Popen[bytes]":
        config = json.dumps(dataclasses.asdict(self._config))
        descriptor = channel.fileno()
        module = [sys.executable, "-m", "realman_driver.link"]
        self.started += 1
        self.first_epoch = (self.started << 12) & 0xFFFFFFFF
        return subprocess.Popen(
            [*module, str(descriptor), config, str(self.first_epoch)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the library prints
            pass_fds=(descriptor,),
            process_group=0,  # Ctrl-C is for the node, which brings the arm to rest
        )

    def _listen(self, channel: socket.socket) -> str:
        """Take records until the process ends or falls silent; says which."""
        heard, limit = time.monotonic(), START_TIMEOUT
        asked_to_end = float("inf")
        while True:
            now = time.monotonic()
            if self._closing.is_set() and asked_to_end == float("inf"):
                asked_to_end = now
                self.send(records.pack_end())
            if now - asked_to_end > CLOSE_TIMEOUT:
                return "did not end"
            if self.send_failed and not self._closing.is_set():
                return "took no orders"
            try:
                data = channel.recv(records.LARGEST)
            except TimeoutError:
                if now - heard > limit:
                    return "fell silent"
                continue
            except OSError:
                return "ended"
            if not data:
                return "ended"
            heard, limit = time.monotonic(), SILENCE_TIMEOUT
            try:
                self._take(records.unpack_report(data))
            except RecordError as error:
                self.lost_records += 1
                log.warning("link process of %s: %s", self._config.ip, error)
