"""What the cell said last, kept in memory: an episode can begin before anybody asked for it.

Bounded in seconds and in bytes. A state that stands until the next one (a latched topic) is
remembered after it has left the ring, so that an episode that begins in the ring knows it.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec
from ate_recorder.sample import Sample

OVERHEAD = 250
"""Memory of a message besides its bytes: objects, their place in the ring [byte]."""


class PreRollRing:
    """Keeps the messages of the last seconds; not safe for threads, its owner locks.

    Args:
        seconds: How far it reaches back [s].
        max_bytes: Memory it may take [byte].
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self._span_ns = round(seconds * NANOSECONDS)
        self._max_bytes = max_bytes
        self._samples: deque[Sample] = deque()
        self._standing: dict[str, Sample] = {}
        self._newest_ns = 0
        self.bytes = 0
        """Memory taken [byte]."""
        self.taken = 0
        """Messages taken since the start, those that left included."""

    def add(self, sample: Sample) -> None:
        """Take one message, and drop what is too old or too much."""
        self._newest_ns = max(self._newest_ns, sample.receive_ns)
        self._samples.append(sample)
        self.taken += 1
        self.bytes += len(sample.data) + OVERHEAD
        oldest_ns = self._newest_ns - self._span_ns
        while self._samples and (
            self.bytes > self._max_bytes or self._samples[0].receive_ns <= oldest_ns
        ):
            self._drop_oldest()

    def forget(self) -> None:
        """Drop all but the states that stand."""
        self._newest_ns = 0
        while self._samples:
            self._drop_oldest()

    def since(self, start_ns: int) -> list[Sample]:
        """Return the messages received at a time [ns] or later, in the order they came."""
        return [sample for sample in self._samples if sample.receive_ns >= start_ns]

    def after(self, taken: int) -> list[Sample]:
        """Return the messages that came after so many."""
        count = min(self.taken - taken, len(self._samples))
        return list(islice(self._samples, len(self._samples) - count, None))

    def standing(self, start_ns: int) -> list[tuple[StreamSpec, bytes]]:
        """Return the last state of each latched topic before a time [ns], by topic."""
        states = dict(self._standing)
        states.update(
            (sample.spec.topic, sample)
            for sample in self._samples
            if sample.spec.latched and sample.receive_ns < start_ns
        )
        return [(states[topic].spec, states[topic].data) for topic in sorted(states)]

    @property
    def seconds(self) -> float:
        """How far it reaches back at present [s]."""
        if not self._samples:
            return 0.0
        return (self._newest_ns - self._samples[0].receive_ns) / NANOSECONDS

    @property
    def bytes_per_second(self) -> float:
        """What comes in; 0 before a second has passed [byte/s]."""
        seconds = self.seconds
        return self.bytes / seconds if seconds >= 1.0 else 0.0

    def _drop_oldest(self) -> None:
        sample = self._samples.popleft()
        self.bytes -= len(sample.data) + OVERHEAD
        if sample.spec.latched:
            self._standing[sample.spec.topic] = sample
