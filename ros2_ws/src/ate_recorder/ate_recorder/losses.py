"""Messages that are not in the bag, counted by stream and reason. Loss is never silent."""

from __future__ import annotations

import threading

QUEUE_FULL = "queue full"
"""The disk was too slow: the queue to it held no more."""
DISK_REFUSED = "disk refused"
"""The disk took no more, or an error ended the writing."""
ON_THE_WAY = "lost on the way"
"""Never reached the recorder: the publisher's own count has a hole."""
AFTER_END = "after the end"
"""Came in time, but the episode was closed already."""
BEFORE_START = "before the start"
"""Arrived before the episode began: not part of it, and no loss."""


class Losses:
    """Counts; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, stream: str, reason: str, count: int = 1) -> None:
        """Count messages of a stream that are not written."""
        with self._lock:
            counts = self._counts.setdefault(stream, {})
            counts[reason] = counts.get(reason, 0) + count

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return the counts by stream and reason."""
        with self._lock:
            return {stream: dict(counts) for stream, counts in sorted(self._counts.items())}

    def total(self) -> int:
        """How many were lost; those that came before the start were not."""
        return sum(
            count
            for counts in self.as_dict().values()
            for reason, count in counts.items()
            if reason != BEFORE_START
        )

    def words(self) -> str:
        """Return one line about what was lost; empty where nothing was."""
        told = [
            f"{stream} {count} {reason}"
            for stream, counts in self.as_dict().items()
            for reason, count in counts.items()
            if reason != BEFORE_START
        ]
        return f"{self.total()} messages not written ({', '.join(told)})" if told else ""
