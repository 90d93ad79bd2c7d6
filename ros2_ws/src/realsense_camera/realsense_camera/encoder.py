"""JPEG compression in a thread of its own, so that a library's callback returns at once."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import simplejpeg

from realsense_camera.camera import Frame

log = logging.getLogger(__name__)

BACKLOG = 3
"""Pictures that may wait: a tenth of a second at 30 Hz; more would only be older."""


@dataclass(frozen=True, kw_only=True)
class EncoderStats:
    """What the encoder did since the start."""

    encoded: int = 0
    """Pictures handed over."""
    dropped: int = 0
    """Pictures that were too many for the processor; the oldest go first."""
    failed: int = 0
    """Pictures that could not be compressed or published."""


class JpegEncoder:
    """Frames in, from any thread; JPEG bytes out, in order, from one thread."""

    def __init__(self, quality: int, on_jpeg: Callable[[Frame, bytes], None]) -> None:
        """Prepare; `start` begins.

        Args:
            quality: JPEG quality, 1..100.
            on_jpeg: takes each picture with its JPEG bytes.
        """
        self._quality = quality
        self._on_jpeg = on_jpeg
        self._waiting: deque[Frame] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._stats = [0, 0, 0]
        self._thread = threading.Thread(target=self._run, name="jpeg", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Take a picture that stays valid; never waits."""
        with self._wake:
            if len(self._waiting) >= BACKLOG:
                self._waiting.popleft()
                self._stats[1] += 1
            self._waiting.append(frame)
            self._wake.notify()

    def stop(self) -> None:
        """End after the picture at hand."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(2.0)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def stats(self) -> EncoderStats:
        """Counts so far."""
        with self._wake:
            encoded, dropped, failed = self._stats
        return EncoderStats(encoded=encoded, dropped=dropped, failed=failed)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                frame = self._waiting.popleft()
            try:
                jpeg = simplejpeg.encode_jpeg(
                    frame.image, self._quality, "RGB", colorsubsampling="420"
                )
                self._on_jpeg(frame, jpeg)
            except Exception:  # one picture must not end the camera
                self._count(2)
                log.exception("a picture could not be published")
            else:
                self._count(0)

    def _count(self, what: int) -> None:
        with self._wake:
            self._stats[what] += 1
