"""A camera that is kept running: counted frames, dropped repeats, reconnection."""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from ate_core.errors import DeviceError
from realsense_camera.camera import CameraBackend, Frame, FrameHandler, Intrinsics

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StreamStats:
    """What a stream has delivered since the start."""

    frames: int = 0
    """New frames."""
    gaps: int = 0
    """Frames whose numbers were skipped."""
    repeats: int = 0
    """Frames delivered again, not published."""
    openings: int = 0
    """Times the camera was opened."""
    rate: float = 0.0
    """New frames per second over the last frames [Hz]."""
    age: float = float("inf")
    """Time since the last new frame [s]."""
    error: str = ""
    """Why the camera is not open; empty while it is."""


class FrameCounter:
    """Count new, skipped and repeated frames; time is an argument."""

    def __init__(self, window: int = 30) -> None:
        """Start at zero; ``window`` is the number of frames that the rate covers."""
        self._arrivals: deque[float] = deque(maxlen=window + 1)
        self._number: int | None = None
        self._stamp_ns = 0
        self._frames = self._gaps = self._repeats = 0

    def take(self, number: int, stamp_ns: int, now: float) -> bool:
        """Whether a frame is new.

        Args:
            number: the device's frame counter; a smaller one than before is a new count.
            stamp_ns: time of acquisition [ns].
            now: time of arrival, monotonic [s].
        """
        if self._number is not None and (number == self._number or stamp_ns == self._stamp_ns):
            self._repeats += 1
            return False
        if self._number is not None and number > self._number + 1:
            self._gaps += number - self._number - 1
        self._number, self._stamp_ns = number, stamp_ns
        self._frames += 1
        self._arrivals.append(now)
        return True

    def restart(self) -> None:
        """Forget the last number: the camera was opened again and may count anew."""
        self._number = None
        self._arrivals.clear()

    def stats(self, now: float) -> StreamStats:
        """The counts, with rate and age at ``now`` (monotonic) [s]."""
        arrivals = self._arrivals
        span = arrivals[-1] - arrivals[0] if len(arrivals) > 1 else 0.0
        return StreamStats(
            frames=self._frames,
            gaps=self._gaps,
            repeats=self._repeats,
            rate=(len(arrivals) - 1) / span if span > 0.0 else 0.0,
            age=now - arrivals[-1] if arrivals else float("inf"),
        )


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a stream is supervised."""

    silence_limit: float = 1.0
    """Time without a new frame after which the camera is opened again [s]."""
    retry_wait: float = 1.0
    """Time between two attempts to open a camera that is not there [s]."""
    check_period: float = 0.1
    """Time between two looks at the age of the last frame [s]."""


class CameraStream:
    """Open a back end, hand its new frames over, and open it again when it falls silent."""

    def __init__(
        self, backend: CameraBackend, on_frame: FrameHandler, config: StreamConfig | None = None
    ) -> None:
        """Prepare a stream.

        Args:
            backend: delivers the frames.
            on_frame: called with each new frame from the back end's thread.
            config: supervision.
        """
        self._backend = backend
        self._on_frame = on_frame
        self._config = config or StreamConfig()
        self._counter = FrameCounter()
        self._lock = threading.Lock()
        self._openings = 0
        self._error = "the camera is not open yet"
        self._intrinsics: Intrinsics | None = None
        self._is_open = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def intrinsics(self) -> Intrinsics | None:
        """Intrinsics of the open camera; None before, or where the back end knows none."""
        return self._intrinsics

    def start(self) -> None:
        """Start supervising; a camera that is not there is awaited."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._supervise, name="camera")
        self._thread.start()

    def stop(self) -> None:
        """Close the camera."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def stats(self, now: float) -> StreamStats:
        """Counts, rate and age at ``now`` (monotonic) [s]."""
        with self._lock:
            stats = self._counter.stats(now)
            return replace(stats, openings=self._openings, error=self._error)

    def _supervise(self) -> None:
        while not self._stop.is_set():
            try:
                with self._lock:
                    self._counter.restart()
                self._intrinsics = self._backend.open(self._take)
            except DeviceError as error:
                self._report(str(error))
                self._stop.wait(self._config.retry_wait)
                continue
            with self._lock:
                self._openings += 1
                self._is_open = True
            self._watch(time.monotonic())
            self._backend.close()
            with self._lock:
                self._is_open = False

    def _watch(self, opened_at: float) -> None:
        """Return when the camera has been silent for too long or the stream is stopped."""
        limit = self._config.silence_limit
        while not self._stop.wait(self._config.check_period):
            now = time.monotonic()
            if min(self.stats(now).age, now - opened_at) > limit:
                self._report(f"no frame for {limit} s: opening the camera again")
                return

    def _report(self, error: str) -> None:
        """Log an error once, until frames come again."""
        with self._lock:
            known, self._error = self._error == error, error
        if not known:
            log.warning("%s", error)

    def _take(self, frame: Frame) -> None:
        with self._lock:
            if not self._is_open:
                return  # the intrinsics that belong to this frame are not known yet
            new = self._counter.take(frame.number, frame.stamp_ns, time.monotonic())
            if new:
                self._error = ""
        if new:
            self._on_frame(frame)
