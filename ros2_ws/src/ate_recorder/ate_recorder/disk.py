"""Whether a disk can take an episode: room in minutes, and speed against what the cell sends.

The speed is tried before a session by forcing a few megabytes to the disk, and measured while
messages are written. A disk counts for the best it has shown: it may be shared, and one slow
moment is what the queue in memory is for.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE_BYTES = 16 * 2**20
"""What a try writes at most [byte]."""
PROBE_SECONDS = 0.5
"""Time after which a try ends early [s]; one block on a very slow disk lasts longer."""
_BLOCK = 4 * 2**20
"""What is written and forced to the disk at once; a bag forces more, once a second [byte]."""
_LOG = logging.getLogger(__name__)
ROOMY = 2.0
"""A disk that takes less than so many times what comes is told of: others may use it too."""
RESERVE_BYTES = 64 * 1024
"""Room for an outcome beside a bag and its folder's entry, with a wide margin [byte]."""
WINDOW = 10.0
"""Time over which the speed of writing is measured [s]."""


def probe_speed(folder: Path, clock: Callable[[], float] = time.monotonic) -> float:
    """Return how fast a folder's disk takes what is forced onto it [byte/s].

    Args:
        folder: Where to write; the file has no name and is gone afterwards.
        clock: Monotonic time [s].

    Raises:
        OSError: the disk refuses.
    """
    block = os.urandom(_BLOCK)  # some disks store zeros for nothing
    written, began = 0, clock()
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while written < PROBE_BYTES and clock() - began < PROBE_SECONDS:
            written += file.write(block)
            os.fdatasync(file.fileno())
    return written / max(clock() - began, 1e-6)


class Reserve:
    """A little room that is kept while an episode is open, to write down how it ended.

    Args:
        folder: Of the episodes.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / ".recorder.reserve"

    def hold(self) -> None:
        """Take the room.

        Raises:
            OSError: there is none.
        """
        self._file.write_bytes(bytes(RESERVE_BYTES))

    def release(self) -> None:
        """Give it back."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)


class WriteMeter:
    """How fast a disk takes what is written, by the time that writing takes; for one thread."""

    def __init__(self) -> None:
        self._spans: deque[tuple[float, int, float]] = deque()

    def add(self, count: int, seconds: float, now: float) -> None:
        """Note so many bytes that took so long, at a monotonic time [s]."""
        self._spans.append((now, count, seconds))
        while now - self._spans[0][0] > WINDOW:
            self._spans.popleft()

    @property
    def bytes_per_second(self) -> float:
        """Bytes per second of writing; 0 before anything took measurable time."""
        spans = list(self._spans)
        seconds = sum(span[2] for span in spans)
        return sum(span[1] for span in spans) / seconds if seconds > 1e-3 else 0.0


@dataclass(frozen=True, kw_only=True)
class DiskState:
    """What is known of the disk of the episodes."""

    free: int
    """Free room [byte]."""
    reserve: int
    """Room that is left free [byte]."""
    takes: float = 0.0
    """The best speed it has shown [byte/s]; 0: nobody has tried."""
    comes: float = 0.0
    """What the streams bring [byte/s]; 0: not known yet."""

    @property
    def minutes(self) -> float | None:
        """How long can be recorded [min]; None before the streams are known."""
        return max(0, self.free - self.reserve) / self.comes / 60.0 if self.comes else None

    def shortage(self) -> str:
        """Why it takes no episode, with the numbers and a remedy; empty where it does."""
        if self.free < self.reserve:
            return (
                f"{self.free / 1e9:.2f} GB free (bound {self.reserve / 1e9:.2f} GB): free space "
                "(`ate episode trash`), or change the output folder"
            )
        return ""

    def slowness(self, margin: float = 1.0) -> str:
        """Why it is too slow, with the numbers and a remedy; empty where it is not.

        Args:
            margin: How many times what comes it has to take.
        """
        if not self.takes or not self.comes or self.takes >= margin * self.comes:
            return ""
        return (
            f"the disk takes {self.takes / 1e6:.1f} MB/s and the streams bring "
            f"{self.comes / 1e6:.1f} MB/s (bound {margin:g} times that): choose a faster disk, or "
            "fewer or smaller pictures"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what the status tells: room [GB], minutes that fit, both speeds [MB/s]."""
        told: dict[str, Any] = {"free_gb": round(self.free / 1e9, 1)}
        if self.minutes is not None:
            told["minutes"] = int(self.minutes)
        if self.takes:
            told["takes_mb_s"] = round(self.takes / 1e6)
        return told


class DiskGuard:
    """Knows the disk of a folder of episodes.

    Args:
        folder: Of the episodes.
        min_free_gb: Room that is left free [GB].
        free_bytes: Free room on the disk of a folder [byte].
        probe: Tries its speed [byte/s].
    """

    def __init__(
        self,
        folder: Path,
        min_free_gb: float,
        *,
        free_bytes: Callable[[Path], int],
        probe: Callable[[Path], float] = probe_speed,
    ) -> None:
        self._folder = folder
        self._reserve = round(min_free_gb * 1e9)
        self._free_bytes = free_bytes
        self._probe = probe
        self._takes = 0.0
        self._free = 0

    def probe(self) -> None:
        """Try its speed; a disk that refuses shows none."""
        with suppress(OSError):
            self._takes = max(self._takes, self._probe(self._folder))

    def note(self, bytes_per_second: float) -> None:
        """Take the speed of a disk while it was written to."""
        self._takes = max(self._takes, bytes_per_second)

    def state(self, comes: float) -> DiskState:
        """Return what is known now; a folder that is gone has no room.

        Where the disk does not answer it has the room that it had.

        Args:
            comes: What the streams bring [byte/s].
        """
        try:
            self._free = self._free_bytes(self._folder)
        except FileNotFoundError:
            self._free = 0
        except OSError as error:
            _LOG.warning("the room of %s is not told: %s", self._folder, error.strerror)
        return DiskState(free=self._free, reserve=self._reserve, takes=self._takes, comes=comes)

    def refusal(self, comes: float, may_be_slow: bool) -> str:
        """Why no episode starts, with the numbers and a remedy; empty where one does.

        A disk that seems too slow is tried again first.

        Args:
            comes: What the streams bring [byte/s].
            may_be_slow: Whether a slow disk is only told of.
        """
        state = self.state(comes)
        if state.slowness() and not may_be_slow:
            self.probe()
            state = self.state(comes)
        return state.shortage() or ("" if may_be_slow else state.slowness())
