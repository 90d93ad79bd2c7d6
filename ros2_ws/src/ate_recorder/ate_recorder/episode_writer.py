"""One open episode: a queue, the thread that empties it onto the disk, and what it counted."""

from __future__ import annotations

import heapq
import itertools
import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ate_core.disk_refusals import remedy
from ate_core.errors import EpisodeError
from ate_core.resample import NANOSECONDS
from ate_core.streams import (
    CLOCK_TOPIC,
    INFO_TOPIC,
    OUTCOME_TOPIC,
    TEXT_TYPE,
    StreamSpec,
    read_header_stamp,
)
from ate_recorder.activity import Activity
from ate_recorder.bag_writer import BagTopic, BagWriter, encode_text
from ate_recorder.clocks import ClockMarks, Step, WallClock
from ate_recorder.counters import StreamCounter, StreamSummary
from ate_recorder.losses import (
    AFTER_END,
    BEFORE_START,
    DISK_REFUSED,
    ON_THE_WAY,
    QUEUE_FULL,
    Losses,
)
from ate_recorder.sample import Sample

CLOSE_TIMEOUT = 20.0
"""Time the disk gets to take the rest of the queue and the footer [s]."""
MAX_QUEUE_BYTES = 256 * 2**20
"""Bytes waiting for the disk above which messages are dropped and counted."""
ORDER_NS = 100_000_000
"""How long a message waits for others that came before it [ns]: topics are emptied in turn."""


class _Waiting(NamedTuple):
    """A message on its way to the disk; sorted by its receipt."""

    receive_ns: int
    order: int
    topic: BagTopic
    data: bytes
    wall_ns: int
    number: int = 0
    spec: StreamSpec | None = None


class EpisodeWriter:
    """Takes messages from any thread and writes them in its own, in the order of their receipt.

    All times given to it are monotonic; in the bag they count from the wall clock at the start.

    Args:
        folder: Bag folder to create.
        info: First message, on /episode/info.
        specs: Streams that may come; each required one is counted even if it never comes.
        start_ns: Start of the episode; earlier messages are left out [ns].
        latched: Messages that stood when the episode began, as (stream, bytes).
        clock: What the wall clock says.
        chunk_interval: Longest time before written messages are safe from a power cut [s].
        max_queue_bytes: Bytes waiting for the disk above which messages are dropped and counted.
        open_bag: Opens the bag; replaced in tests by disks that fail.
    """

    def __init__(
        self,
        folder: Path,
        info: Mapping[str, Any],
        specs: Iterable[StreamSpec],
        *,
        start_ns: int,
        latched: Iterable[tuple[StreamSpec, bytes]] = (),
        qos: Mapping[str, tuple[bool, bool]] | None = None,
        clock: WallClock | None = None,
        chunk_interval: float = 1.0,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        open_bag: Callable[[Path], BagWriter] = BagWriter,
    ) -> None:
        self.folder = folder
        self.start_ns = start_ns
        self.losses = Losses()
        self.error: Exception | None = None
        self.clock = ClockMarks(clock or WallClock(), start_ns)
        self._last_ns = start_ns
        self._log_ns = 0
        self._activity = Activity()
        self._is_closing = self._is_left = False
        self._late: list[tuple[str, int]] = []
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._heap: list[_Waiting] = []
        self._order = itertools.count()
        self._queued_bytes = self._written_bytes = 0
        self._max_queue_bytes = max_queue_bytes
        self._chunk_interval = chunk_interval
        self._counters: dict[str, StreamCounter] = {}
        self._topics: dict[str, BagTopic] = {}
        for spec in specs:
            reliable, is_latched = (qos or {}).get(spec.topic, (True, spec.latched))
            self._topics[spec.name] = BagTopic(
                name=spec.topic, msgtype=spec.msgtype, reliable=reliable, latched=is_latched
            )
            if spec.required:
                self._counters[spec.name] = StreamCounter(spec.rate_hz)
        self._bag = open_bag(folder)
        self._chunks = 0
        self._unsafe: Counter[str] = Counter()
        self._begin(info, latched)
        self._thread = threading.Thread(target=self._run, name="episode_writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Messages of the episode that are not in the bag."""
        return self.losses.total()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the disk."""
        return self._queued_bytes - self._written_bytes

    @property
    def is_in_place(self) -> bool:
        """Whether the bag is where it was opened."""
        return self._bag.is_in_place

    def put(self, sample: Sample) -> None:
        """Hand over one message; never blocks and never touches the disk."""
        spec, receive_ns = sample.spec, sample.receive_ns
        if self._is_closing:
            self._late.append((spec.name, receive_ns))
            return
        if receive_ns < self.start_ns:
            if not spec.latched:
                self.losses.add(spec.name, BEFORE_START)
                return
            receive_ns = self.start_ns  # a state set just before the start still stands
        elif sample.missed:
            self.losses.add(spec.name, ON_THE_WAY, sample.missed)
        if self.waiting_bytes > self._max_queue_bytes:
            self.losses.add(spec.name, QUEUE_FULL)
            return
        self._queued_bytes += len(sample.data)
        wall_ns = receive_ns if sample.wall_ns is None else sample.wall_ns
        topic = self._topics[spec.name]
        self._queue.put(
            _Waiting(
                receive_ns, next(self._order), topic, sample.data, wall_ns, sample.number, spec
            )
        )

    def see_clock(self, now_ns: int, wall_ns: int, step: Step | None) -> None:
        """Take a look at both clocks [ns], with the step since the last look."""
        if self._is_closing:
            return
        for text in self.clock.see(now_ns, wall_ns, step):
            data = encode_text(text)
            self._queued_bytes += len(data)
            topic = _text_topic(CLOCK_TOPIC)
            self._queue.put(_Waiting(now_ns, next(self._order), topic, data, wall_ns))

    def summaries(self, end_ns: int) -> dict[str, StreamSummary]:
        """Return the counters of all streams seen or required, at a time [ns]."""
        shift_ns = self.clock.shift_ns
        end_ns = max(end_ns, self._last_ns)
        return {
            name: counter.summary(self.start_ns + shift_ns, end_ns + shift_ns)
            for name, counter in sorted(self._counters.items())
        }

    def held_s(self, end_ns: int) -> dict[str, float]:
        """Return how long one message of a stream was the newest at most, until a time [s, ns]."""
        end_ns = max(end_ns, self._last_ns) + self.clock.shift_ns
        return {name: counter.held_s(end_ns) for name, counter in self._counters.items()}

    def lack(self) -> str:
        """Take no more, and say what makes the episode empty; empty text where nothing does."""
        was_written = self._drain() and self.error is None and not self.dropped
        return self._activity.lack() if was_written else ""

    def finish(
        self, outcome: str, reason: str, end_ns: int, not_recorded: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Write what waits, the outcome and the footer; return the outcome's fields.

        Args:
            outcome: How it ended.
            reason: Why, where there is something to say.
            end_ns: When it ended [ns].
            not_recorded: Topics that could not be recorded, with the reason.

        Raises:
            EpisodeError: the disk refused, and the bag holds what was written before; or it was
                removed or moved.
        """
        if not self._drain():
            self._is_left = True
            raise EpisodeError(
                f"{self.folder.name} is still being written after {CLOSE_TIMEOUT:.0f} s: the disk "
                f"is too slow; run 'ate repair --bag {self.folder}' once it has settled"
            )
        for name, receive_ns in self._late:
            if receive_ns <= end_ns:
                self.losses.add(name, AFTER_END)
        end_ns = max(end_ns, self._last_ns)
        fields = {
            "outcome": outcome,
            "reason": reason,
            "end_ns": end_ns + self.clock.shift_ns,
            "duration_s": round((end_ns - self.start_ns) / NANOSECONDS, 3),
            "dropped": self.dropped,
            "not_written": self.losses.as_dict(),
            "not_recorded": dict(not_recorded or {}),
            "clock": self.clock.as_dict(),
            "streams": {name: s.as_dict() for name, s in self.summaries(end_ns).items()},
        }
        if self.error is None:
            try:
                self._write_text(OUTCOME_TOPIC, fields, end_ns)
                self._bag.close()
            except OSError as error:
                self._refuse(error)
        if self.error is not None:
            with suppress(OSError):  # told by the first refusal
                self._bag.abort()
            told = "; ".join(filter(None, [self._trouble(), self.losses.words()]))
            raise EpisodeError(
                f"{self.folder.name} is cut short, the disk refused it ({told}); "
                f"{self._remedy()}, then run 'ate repair --bag {self.folder}'"
            )
        return fields

    def _trouble(self) -> str:
        """What the disk said."""
        return str(getattr(self.error, "strerror", None) or self.error)

    def _remedy(self) -> str:
        """What helps against that."""
        return remedy(self.error) if isinstance(self.error, OSError) else "check the disk"

    def _begin(self, info: Mapping[str, Any], latched: Iterable[tuple[StreamSpec, bytes]]) -> None:
        """Write what stands at the start."""
        self._write_text(INFO_TOPIC, info, self.start_ns)
        for text in self.clock.begin():
            self._write_text(CLOCK_TOPIC, text, self.start_ns)
        wall_ns = self.start_ns + self.clock.shift_ns
        for spec, data in latched:
            topic = self._topics[spec.name]
            self._write(_Waiting(self.start_ns, 0, topic, data, wall_ns, 0, spec))
        self._bag.checkpoint()

    def _drain(self) -> bool:
        """Write what waits; whether the disk took it in time."""
        if not self._is_closing:
            self._is_closing = True
            self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT)
        return not self._thread.is_alive()

    def _write_text(self, topic: str, fields: Mapping[str, Any], at_ns: int) -> None:
        data = encode_text(json.dumps(fields, sort_keys=True))
        self._log_ns = max(self._log_ns, at_ns + self.clock.shift_ns)
        self._bag.write(_text_topic(topic), self._log_ns, data)

    def _run(self) -> None:
        checkpoint = time.monotonic() + self._chunk_interval
        while True:
            try:
                item = self._queue.get(timeout=self._chunk_interval)
            except queue.Empty:
                self._write_until(None)  # nothing new: all that waits is in order
            else:
                if item is None:
                    self._write_until(None)
                    if self._is_left:  # nobody waits any more: let it be repaired
                        self._bag.abort()
                    return
                heapq.heappush(self._heap, item)
                self._write_until(item.receive_ns - ORDER_NS)
            if time.monotonic() >= checkpoint and self.error is None:
                try:
                    self._bag.checkpoint()
                    self._unsafe.clear()
                except Exception as error:  # reported by finish() and by the recorder's status
                    self._refuse(error)
                checkpoint = time.monotonic() + self._chunk_interval

    def _write_until(self, until_ns: int | None) -> None:
        """Write what was received up to a time [ns], or all, in order."""
        while self._heap and (until_ns is None or self._heap[0].receive_ns <= until_ns):
            item = heapq.heappop(self._heap)
            self._written_bytes += len(item.data)
            name = "" if item.spec is None else item.spec.name
            if self.error is None:
                self._unsafe[name] += 1
                try:
                    self._write(item)
                except Exception as error:  # reported by finish() and by the recorder's status
                    self._refuse(error)
            elif name:
                self.losses.add(name, DISK_REFUSED)

    def _refuse(self, error: Exception) -> None:
        """Note that the disk takes no more: what is in no whole chunk is lost."""
        self.error = error
        for name, count in self._unsafe.items():
            if name:
                self.losses.add(name, DISK_REFUSED, count)

    def _write(self, item: _Waiting) -> None:
        self._log_ns = max(self._log_ns, item.receive_ns + self.clock.shift_ns)
        self._bag.write(
            item.topic, self._log_ns, item.data, wall_ns=item.wall_ns, number=item.number
        )
        if self._bag.chunks != self._chunks:
            self._chunks = self._bag.chunks
            self._unsafe.clear()
        self._last_ns = max(self._last_ns, item.receive_ns)
        if item.spec is not None:
            self._activity.add(item.spec, item.data, item.receive_ns)
            self._count(item, item.spec)

    def _count(self, item: _Waiting, spec: StreamSpec) -> None:
        counter = self._counters.get(spec.name)
        if counter is None:
            counter = self._counters[spec.name] = StreamCounter(spec.rate_hz)
        stamp_ns = read_header_stamp(item.data) if spec.stamped else None
        age_ns = 0
        if stamp_ns is not None:
            age_ns = self.clock.age_ns(item.wall_ns - stamp_ns, item.receive_ns)
        received_ns = item.receive_ns + self.clock.shift_ns
        counter.add(received_ns - age_ns, received_ns)


def _text_topic(name: str) -> BagTopic:
    return BagTopic(name=name, msgtype=TEXT_TYPE, latched=True)
