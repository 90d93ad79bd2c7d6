"""One open episode: a queue, the thread that empties it onto the disk, and what it counted."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ate_core.errors import EpisodeError
from ate_core.resample import NANOSECONDS
from ate_core.streams import (
    INFO_TOPIC,
    OUTCOME_TOPIC,
    TEXT_TYPE,
    StreamSpec,
    read_header_stamp,
)
from ate_recorder.activity import Activity
from ate_recorder.bag_writer import BagTopic, BagWriter, encode_text
from ate_recorder.counters import StreamCounter, StreamSummary

CLOSE_TIMEOUT = 20.0
"""Time the disk gets to take the rest of the queue and the footer [s]."""

MAX_QUEUE_BYTES = 256 * 2**20
"""Bytes waiting for the disk above which messages are dropped and counted."""


class EpisodeWriter:
    """Takes messages from any thread and writes them in its own.

    Args:
        folder: Bag folder to create.
        info: First message, on /episode/info.
        specs: Streams that may come; each required one is counted even if it never comes.
        latched: Messages that stood when the episode began, as (stream, bytes).
        start_ns: Start of the episode; earlier messages are left out [ns].
        chunk_interval: Longest time before written messages are safe from a kill [s].
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
        chunk_interval: float = 1.0,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        open_bag: Callable[[Path], BagWriter] = BagWriter,
    ) -> None:
        self.folder = folder
        self.start_ns = start_ns
        self.dropped = 0
        self.error: OSError | None = None
        self._last_ns = start_ns
        self._activity = Activity()
        self._is_closing = False
        self._queue: queue.SimpleQueue[tuple[StreamSpec, bytes, int] | None] = queue.SimpleQueue()
        self._queued_bytes = 0
        self._written_bytes = 0
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
        self._write_text(INFO_TOPIC, info, start_ns)
        for spec, data in latched:
            self._bag.write(self._topics[spec.name], start_ns, data)
        self._bag.checkpoint()
        self._thread = threading.Thread(target=self._run, name="episode_writer", daemon=True)
        self._thread.start()

    def put(self, spec: StreamSpec, data: bytes, receive_ns: int) -> None:
        """Hand over one message; never blocks and never touches the disk."""
        if self._is_closing:
            return
        if receive_ns < self.start_ns:
            if not spec.latched:
                return
            receive_ns = self.start_ns  # a state set just before the start still stands
        if self._queued_bytes - self._written_bytes > self._max_queue_bytes:
            self.dropped += 1
            return
        self._queued_bytes += len(data)
        self._queue.put((spec, data, receive_ns))

    def summaries(self, end_ns: int) -> dict[str, StreamSummary]:
        """Return the counters of all streams seen or required, at a time [ns]."""
        return {
            name: counter.summary(self.start_ns, end_ns)
            for name, counter in sorted(self._counters.items())
        }

    def lack(self) -> str:
        """Take no more, and say what makes the episode empty; empty text where nothing does."""
        was_written = self._drain() and self.error is None and not self.dropped
        return self._activity.lack() if was_written else ""

    def finish(self, outcome: str, reason: str, end_ns: int) -> dict[str, Any]:
        """Write what waits, the outcome and the footer; return the outcome's fields.

        Raises:
            EpisodeError: the disk refused; the bag holds what was written before.
        """
        if not self._drain():
            raise EpisodeError(
                f"{self.folder.name} is still being written after {CLOSE_TIMEOUT:.0f} s: the disk "
                f"is too slow; run 'ate repair --bag {self.folder}' once it has settled"
            )
        end_ns = max(end_ns, self._last_ns)
        fields = {
            "outcome": outcome,
            "reason": reason,
            "end_ns": end_ns,
            "duration_s": round((end_ns - self.start_ns) / NANOSECONDS, 3),
            "dropped": self.dropped,
            "streams": {name: s.as_dict() for name, s in self.summaries(end_ns).items()},
        }
        if self.error is None:
            try:
                self._write_text(OUTCOME_TOPIC, fields, end_ns)
                self._bag.close()
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._bag.abort()
            raise EpisodeError(
                f"{self.folder.name} is cut short, the disk refused it ({self.error.strerror}); "
                f"free space there, then run 'ate repair --bag {self.folder}'"
            )
        return fields

    def _drain(self) -> bool:
        """Write what waits; whether the disk took it in time."""
        if not self._is_closing:
            self._is_closing = True
            self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT)
        return not self._thread.is_alive()

    def _write_text(self, topic: str, fields: Mapping[str, Any], stamp_ns: int) -> None:
        text = json.dumps(fields, sort_keys=True)
        described = BagTopic(name=topic, msgtype=TEXT_TYPE, latched=True)
        self._bag.write(described, stamp_ns, encode_text(text))

    def _run(self) -> None:
        checkpoint = time.monotonic() + self._chunk_interval
        item: tuple[StreamSpec, bytes, int] | tuple[()] | None
        while True:
            try:
                item = self._queue.get(timeout=self._chunk_interval)
            except queue.Empty:
                item = ()  # nothing new: only the checkpoint may be due
            if item is None:
                return
            try:
                if item and self.error is None:
                    self._write(*item)
                if time.monotonic() >= checkpoint and self.error is None:
                    self._bag.checkpoint()
                    checkpoint = time.monotonic() + self._chunk_interval
            except OSError as error:  # reported by finish() and by the recorder's status
                self.error = error

    def _write(self, spec: StreamSpec, data: bytes, receive_ns: int) -> None:
        self._written_bytes += len(data)
        self._activity.add(spec, data, receive_ns)
        self._bag.write(self._topics[spec.name], receive_ns, data)
        self._last_ns = max(self._last_ns, receive_ns)
        counter = self._counters.get(spec.name)
        if counter is None:
            counter = self._counters[spec.name] = StreamCounter(spec.rate_hz)
        stamp_ns = read_header_stamp(data) if spec.stamped else receive_ns
        counter.add(receive_ns if stamp_ns is None else stamp_ns, receive_ns)
