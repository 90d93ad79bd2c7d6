"""How many publishers a topic has: those in the graph, less the dead ones, and those that send.

The middleware keeps a publisher whose process was killed in its graph for twenty seconds. On this
host the process number in its identifier tells that it is gone. A number may be in use again, or
be that of another container, so those that are heard sending are counted too.
"""

import os
from pathlib import Path

VENDOR, HOST, PROCESS = slice(0, 2), slice(0, 4), slice(4, 6)
"""Of a Fast DDS endpoint's identifier: who made it, on which host, low bytes of its process."""
FAST_DDS = b"\x01\x0f"
"""Vendor whose identifiers are read; those of others say nothing of a process."""
NUMBERS = 1 << 16
"""Process numbers that can be told apart."""
LOST_AT_MOST = 1000
"""Messages of one publisher that may be lost in a row: ten seconds at 100 Hz."""
SENDING_NS = 1_000_000_000
"""A publisher counts as sending for so long after its last message [ns]."""


def has_ended(endpoint: bytes, own: bytes, proc: Path = Path("/proc")) -> bool:
    """Whether the process of a publisher is certainly gone; only of this host that can be known.

    Args:
        endpoint: identifier of the publisher.
        own: identifier of any endpoint of this process; empty where there is none yet.
        proc: where processes are listed.
    """
    is_readable = own[VENDOR] == FAST_DDS and _process(own) == os.getpid() % NUMBERS
    if not is_readable or endpoint[HOST] != own[HOST]:
        return False
    running = {int(folder.name) % NUMBERS for folder in proc.glob("[0-9]*")}
    return _process(endpoint) not in running


def _process(endpoint: bytes) -> int:
    return int.from_bytes(endpoint[PROCESS], "little")


class Senders:
    """Publishers that are heard on one topic, told apart by the numbers of their messages.

    The numbers of one publisher only grow; those of two go back again and again.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int]] = {}  # line -> its last number, when heard [ns]
        self._lines = 0

    def hear(self, number: int | None, now_ns: int) -> int:
        """Note a message; return how many of its publisher were lost just before it.

        Args:
            number: its publisher's own count; None where the middleware has none.
            now_ns: present monotonic time [ns].
        """
        if number is None:
            return 0
        near = [
            (number - last, line)
            for line, (last, _) in self._last.items()
            if 0 < number - last <= LOST_AT_MOST
        ]
        step, line = min(near, default=(1, 0))
        if not near:
            line = self._lines = self._lines + 1
            self._forget_silent(now_ns)
        self._last[line] = (number, now_ns)
        return step - 1

    def count(self, now_ns: int) -> int:
        """How many send at present."""
        self._forget_silent(now_ns)
        return len(self._last)

    def _forget_silent(self, now_ns: int) -> None:
        self._last = {
            line: (last, heard)
            for line, (last, heard) in self._last.items()
            if now_ns - heard <= SENDING_NS
        }
