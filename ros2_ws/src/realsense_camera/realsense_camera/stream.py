"""A camera that is kept running: counted frames, dropped repeats, reconnection."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import AteError, DeviceError
from ate_core.patience import Patience
from realsense_camera.camera import CameraBackend, Frame, FrameHandler, Intrinsics
from realsense_camera.pictures import SeenPictures, complaint

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = 3.0
"""Longest wait for the library when the stream is stopped [s]."""
LIVELY = 2
"""New pictures of an opening that show a real sensor to be alive; one may be a leftover."""
FROZEN = (
    "the picture is frozen: a sensor's noise changes each one, and these equal earlier ones to "
    "the last bit: the camera is opened again; if that does not help, take off what covers its "
    "lens, and pull its plug and put it in again"
)
"""What is told of a real camera that shows old pictures."""


@dataclass(frozen=True, kw_only=True)
class StreamStats:
    """What a stream has delivered since the start."""

    frames: int = 0
    """New frames."""
    gaps: int = 0
    """Frames whose numbers were skipped."""
    repeats: int = 0
    """Frames delivered again, not published."""
    malformed: int = 0
    """Frames that were no RGB picture of the wanted size, not published."""
    unchanged: int = 0
    """New frames in a row whose picture is one of those before, to the last bit."""
    openings: int = 0
    """Times the camera was opened."""
    rate: float = 0.0
    """New frames per second over the last frames [Hz]."""
    age: float = float("inf")
    """Time since the last new frame [s]."""
    is_full: bool = True
    """Whether the rate covers as many frames as it is meant to; fewer may come at once."""
    odd: str = ""
    """What is odd about the latest picture, and what to do; empty where nothing is."""
    error: str = ""
    """Why the camera is not open; empty while it is."""


class FrameCounter:
    """Count new, skipped and repeated frames; time is an argument.

    A frame is a repeat when its picture was seen before *and* the device says so by its number
    or its stamp. A new picture is new whatever its number and stamp are; and the same picture
    under a new number and stamp is a scene at rest.
    """

    def __init__(self, window: int = 30) -> None:
        """Start at zero; ``window`` is the number of frames that the rate covers."""
        self._arrivals: deque[float] = deque(maxlen=window + 1)
        self._number = self._stamp_ns = -1
        self._counts_on = False
        self._frames = self._gaps = self._repeats = self._unchanged = 0

    def take(self, number: int, stamp_ns: int, same_picture: bool, now: float) -> bool:
        """Whether a frame is new.

        Args:
            number: the device's frame counter; a smaller one than before is a new count.
            stamp_ns: time of acquisition [ns].
            same_picture: whether the picture is one of those before, to the last bit.
            now: time of arrival, monotonic [s].
        """
        if same_picture and (number == self._number or stamp_ns == self._stamp_ns):
            self._repeats += 1
            return False
        self._unchanged = self._unchanged + 1 if same_picture else 0
        if self._counts_on and number > self._number + 1:
            self._gaps += number - self._number - 1
        self._number, self._stamp_ns, self._counts_on = number, stamp_ns, True
        self._frames += 1
        self._arrivals.append(now)
        return True

    def restart(self) -> None:
        """The camera was opened again and may count anew, so a larger number is no gap."""
        self._counts_on = False
        self._unchanged = 0
        self._arrivals.clear()

    def stats(self, now: float) -> StreamStats:
        """The counts, with rate and age at ``now`` (monotonic) [s]."""
        arrivals = self._arrivals
        span = arrivals[-1] - arrivals[0] if len(arrivals) > 1 else 0.0
        return StreamStats(
            frames=self._frames,
            gaps=self._gaps,
            repeats=self._repeats,
            unchanged=self._unchanged,
            rate=(len(arrivals) - 1) / span if span > 0.0 else 0.0,
            is_full=len(arrivals) == arrivals.maxlen,
            age=now - arrivals[-1] if arrivals else float("inf"),
        )


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a stream is supervised."""

    silence_limit: float = 1.0
    """Time without a new frame after which the camera is opened again [s]."""
    first_frame_limit: float = 6.0
    """The same before the first frame of a real sensor's opening [s]: it takes time to settle."""
    retry_wait: float = 1.0
    """Time between two attempts to open a camera that is not there [s]."""
    frozen_limit: float = 2.0
    """Time for which a real camera may deliver pictures seen before, to the last bit, until it
    counts as frozen and is opened again [s]; its sensor's noise changes every picture."""
    call_limit: float = 15.0
    """Time that one call of the camera's library may take before it counts as hung [s]."""
    check_period: float = 0.1
    """Time between two looks at the age of the last frame [s]."""


class CameraStream:
    """Open a back end, hand its new frames over, and open it again when it falls silent.

    A real sensor that shows an old picture after an opening is still frozen: that is an error, and
    nothing is handed over until the picture changes.
    """

    def __init__(
        self,
        backend: CameraBackend,
        on_frame: FrameHandler,
        config: StreamConfig | None = None,
        shape: tuple[int, int] | None = None,
        claim: Callable[[], str] = str,
    ) -> None:
        """Prepare a stream.

        Args:
            backend: delivers the frames.
            on_frame: called with each new frame from the back end's thread.
            config: supervision.
            shape: height and width that a picture must have [pixel]; None: any.
            claim: asked before each opening: why that must not be; empty where it may.
        """
        self._backend = backend
        self._on_frame = on_frame
        self._config = config or StreamConfig()
        self._shape = shape
        self._is_noisy = getattr(backend, "is_noisy", False)
        self._claim = claim
        self._counter = FrameCounter()
        self._lock = threading.Lock()
        self._openings = self._malformed = self._changes = 0
        self._error = "the camera is not open yet"
        self._patience = Patience(log, "the camera")
        self._intrinsics: Intrinsics | None = None
        self._pictures = SeenPictures()
        self._is_open = False
        self._entered: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def intrinsics(self) -> Intrinsics | None:
        """Intrinsics of the open camera; None before, or where the back end knows none."""
        return self._intrinsics

    @property
    def identity(self) -> dict[str, str]:
        """What the camera says of itself (model, firmware, serial); empty where nobody tells."""
        return dict(getattr(self._backend, "identity", {}))

    def start(self) -> None:
        """Start supervising; a camera that is not there is awaited."""
        self._stop.clear()
        # A daemon: a library that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._supervise, name="camera", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the camera; one whose library hangs is left behind."""
        is_hung = bool(self.trouble(time.monotonic()))
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.0 if is_hung else CLOSE_TIMEOUT)
            self._thread = None

    @property
    def is_running(self) -> bool:
        """Whether the stream was started and not stopped."""
        return self._thread is not None and not self._stop.is_set()

    def trouble(self, now: float) -> str:
        """Why this process must be replaced; empty while it need not.

        Args:
            now: monotonic time [s].
        """
        entered, thread = self._entered, self._thread
        if entered is not None and now - entered > self._config.call_limit:
            return f"the camera's library has not returned for {now - entered:.0f} s"
        if thread is not None and not thread.is_alive() and not self._stop.is_set():
            return "the thread that supervises the camera has died"
        return ""

    def stats(self, now: float) -> StreamStats:
        """Counts, rate and age at ``now`` (monotonic) [s], and what is odd about the picture."""
        with self._lock:
            stats, picture = self._counter.stats(now), self._pictures.latest
            stats = replace(
                stats, openings=self._openings, malformed=self._malformed, error=self._error
            )
        if picture is None:
            return stats
        return replace(stats, odd=": ".join(filter(None, complaint(picture))))

    def _counts(self, now: float) -> StreamStats:
        """The counts alone, which are looked at more often than a picture needs to be."""
        with self._lock:
            return self._counter.stats(now)

    def _supervise(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                self._counter.restart()
                self._changes = 0
            if not self._call(self._open):
                self._call(self._backend.close)  # what a failed opening has left behind
                self._stop.wait(self._config.retry_wait)
                continue
            with self._lock:
                self._openings += 1
                self._is_open = True
            self._watch(time.monotonic())
            with self._lock:
                self._is_open = False
            self._call(self._backend.close)

    def _open(self) -> None:
        if taken := self._claim():
            raise DeviceError(taken)
        self._intrinsics = self._backend.open(self._take)

    def _call(self, step: Callable[[], None]) -> bool:
        """Run one step of the back end; whatever it raises is reported and outlived.

        A camera that is being pulled out makes its library raise at any place and of any kind.
        """
        self._entered = time.monotonic()
        try:
            step()
        except AteError as error:
            self._report(str(error))
        except Exception as error:
            self._report(
                f"the camera's library failed ({type(error).__name__}: {error}): check its cable; "
                "it is opened again"
            )
        else:
            return True
        finally:
            self._entered = None
        return False

    def _watch(self, opened_at: float) -> None:
        """Return when the camera has been silent for too long or the stream is stopped."""
        limit, frozen = self._config.silence_limit, self._config.frozen_limit
        while not self._stop.wait(self._config.check_period):
            now = time.monotonic()
            stats = self._counts(now)
            has_begun = stats.age < now - opened_at
            silence = stats.age if has_begun else now - opened_at
            settles = self._is_noisy and not has_begun
            allowed = max(limit, self._config.first_frame_limit) if settles else limit
            if silence > allowed:
                self._report(f"no frame for {allowed} s: opening the camera again")
                return
            if self._is_noisy and stats.rate > 0.0 and stats.unchanged > frozen * stats.rate:
                with self._lock:
                    self._changes = 0
                self._report(FROZEN)
                return

    def _report(self, error: str) -> None:
        """Log an error once, until frames come again."""
        with self._lock:
            self._error = error
        self._patience.trouble(error)

    def _take(self, frame: Frame) -> None:
        problem = self._malformation(frame.image)
        if problem:
            with self._lock:
                self._malformed += 1
            self._report(problem)
            return
        image = np.array(frame.image, order="C")  # the library takes its own back
        with self._lock:
            if not self._is_open:
                return  # the intrinsics that belong to this frame are not known yet
            is_changed = self._pictures.take(image)
            self._changes += is_changed
            is_frozen = self._is_noisy and not is_changed and self._changes < LIVELY
            new = self._counter.take(
                frame.number, frame.stamp_ns, not is_changed, time.monotonic()
            )
            if new and not is_frozen:
                self._error = ""
                self._patience.well()
                self._patience.end()
        if is_frozen:
            self._report(FROZEN)
        elif new:
            self._on_frame(replace(frame, image=image))

    def _malformation(self, image: NDArray[np.uint8]) -> str:
        """Why an array is not a picture of this stream; empty when it is."""
        is_rgb = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        if is_rgb and (self._shape is None or image.shape[:2] == self._shape):
            return ""
        wanted = "any size" if self._shape is None else f"{self._shape[1]}x{self._shape[0]}"
        return (
            f"the camera delivers {image.dtype} arrays of shape {image.shape}, need RGB pictures "
            f"of {wanted}: set its format in cell.yaml, or plug it in again"
        )
