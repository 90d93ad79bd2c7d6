"""What comes in: into the ring of the last seconds, and into the episode that is open.

``receive`` and ``see_clock`` may be called from another thread than the rest.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec
from ate_recorder.clocks import WallClock
from ate_recorder.episode_writer import EpisodeWriter
from ate_recorder.losses import QUEUE_FULL
from ate_recorder.pre_roll import PreRollRing
from ate_recorder.sample import Sample

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Past:
    """What an episode begins with."""

    start_ns: int
    """Its start, monotonic [ns]."""
    samples: list[Sample]
    """Messages that came before it was asked for, in the order they came."""
    standing: list[tuple[StreamSpec, bytes]]
    """States that stand at its start."""
    taken: int
    """Messages that the ring had taken by then."""


class Intake:
    """Hands messages to the ring and to the open episode, and looks at the clocks.

    Args:
        ring: Keeps the last seconds.
    """

    def __init__(self, ring: PreRollRing) -> None:
        self.ring = ring
        self.clock = WallClock()
        """What the wall clock says."""
        self.episode: EpisodeWriter | None = None
        """The open episode."""
        self._lock = threading.Lock()  # between what comes in and what an episode begins with

    def see_clock(self, now_ns: int, wall_ns: int) -> None:
        """Take a look at both clocks [ns]; a step of the wall clock is marked in the episode."""
        with self._lock:
            step = self.clock.see(now_ns, wall_ns)
            if self.episode is not None:
                self.episode.see_clock(now_ns, wall_ns, step)
        if step is not None:
            _LOG.warning("the host's clock was set by %+.3f s", step.size_ns / NANOSECONDS)

    def receive(self, sample: Sample) -> None:
        """Take one message."""
        with self._lock:
            self.ring.add(sample)
            if self.episode is not None:
                self.episode.put(sample)

    def past(self, now_ns: int, seconds: float) -> Past:
        """Return what an episode begins with.

        Args:
            now_ns: When it is asked for [ns].
            seconds: How far it reaches back [s].
        """
        since_ns = now_ns - round(seconds * NANOSECONDS) + 1
        with self._lock:
            samples = self.ring.since(since_ns)
            standing, taken = self.ring.standing(since_ns), self.ring.taken
        start_ns = min([now_ns, *(sample.receive_ns for sample in samples)])
        return Past(start_ns=start_ns, samples=samples, standing=standing, taken=taken)

    def begin(self, episode: EpisodeWriter, past: Past) -> None:
        """Give an episode its past and what came while its bag was made; what comes is its own."""
        with self._lock:
            recent = self.ring.after(past.taken)
            fell_out = self.ring.taken - past.taken - len(recent)
            if fell_out:
                episode.losses.add("any stream", QUEUE_FULL, fell_out)
            for sample in (*past.samples, *recent):
                episode.put(sample)
            self.episode = episode

    def end(self) -> None:
        """Give the open episode no more; no later one holds the same messages."""
        with self._lock:
            self.episode = None
            self.ring.forget()
