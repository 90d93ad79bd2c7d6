"""A camera as a plain video device, through OpenCV.

The way to the colour stream of an L515, which librealsense dropped in 2.55.1.
"""

import logging
import threading
import time
from typing import Any

from ate_core.errors import DeviceError, UsageError
from realsense_camera.backends import controls
from realsense_camera.backends.controls import Control, query_control
from realsense_camera.camera import CameraSettings, Frame, FrameHandler, Intrinsics
from realsense_camera.frame_clock import FrameClock
from realsense_camera.sensor_values import EXPOSURE_STEP_US, is_taken, nearest_value

log = logging.getLogger(__name__)

FULLY_AUTOMATIC, MANUAL, AUTOMATIC = 0.0, 1.0, 3.0
"""V4L2's words for exposure: V4L2_EXPOSURE_AUTO, _MANUAL and _APERTURE_PRIORITY."""
ANY_EXPOSURE = Control(low=1, high=10_000, step=1, default=1)
"""Exposure of a device that does not tell its own, in steps of 100 us."""


def load_opencv() -> Any:
    """The module cv2.

    Raises:
        DeviceError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise DeviceError(
            f"backend v4l2 needs OpenCV ({error}): install it with 'pip install "
            "opencv-python-headless'. An L515 needs this back end, since pyrealsense2 >= 2.55.1 "
            "does not open it and 2.54.2.5684, the last that does, exists for Python <= 3.11 only"
        ) from None
    return cv2


class V4l2Backend:
    """Read a video device in a thread; its frames carry no number, so they are counted here."""

    is_noisy = True

    def __init__(self, settings: CameraSettings) -> None:
        """Load OpenCV.

        Raises:
            DeviceError: OpenCV is missing.
            UsageError: no device path.
        """
        if not settings.serial.startswith("/dev/"):
            raise UsageError(
                f"camera {settings.role}: serial is {settings.serial!r}; backend v4l2 needs the "
                "path of its video device, for instance /dev/v4l/by-id/..., in cell.yaml"
            )
        self._settings = settings
        self._cv2 = load_opencv()
        self._stop = threading.Event()
        self._reader: threading.Thread | None = None
        self._number = 0

    def open(self, on_frame: FrameHandler) -> Intrinsics | None:
        """Open the device and start reading; its intrinsics are not known."""
        opened_ns = time.monotonic_ns()
        clock = FrameClock(self._settings.fps, opened_ns, opened_ns)
        capture = self._open_capture()
        self._stop = threading.Event()
        # A daemon: read() of a dead camera may block for seconds and cannot be interrupted.
        self._reader = threading.Thread(
            target=self._run, args=(capture, on_frame, self._stop, clock), daemon=True
        )
        self._reader.start()
        return None

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._reader is not None:
            self._reader.join(timeout=2.0)
            self._reader = None

    def _open_capture(self) -> Any:
        cv2, settings = self._cv2, self._settings
        capture = cv2.VideoCapture(settings.serial, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise DeviceError(
                f"camera {settings.role}: {settings.serial} cannot be opened: check the cable, "
                "the path in cell.yaml and the membership in group 'video'"
            )
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        capture.set(cv2.CAP_PROP_FPS, settings.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
        size = (
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        if size != (settings.width, settings.height):
            capture.release()
            raise DeviceError(
                f"camera {settings.role}: {settings.serial} delivers {size[0]}x{size[1]}, the "
                f"cell wants {settings.width}x{settings.height}: set a size it has in cell.yaml"
            )
        try:
            self._set_sensor(capture)
        except DeviceError:
            capture.release()
            raise
        return capture

    def _set_sensor(self, capture: Any) -> None:
        """Fix exposure, gain and white balance, or leave them to the camera.

        Raises:
            DeviceError: the device did not take a value.
        """
        cv2, settings = self._cv2, self._settings
        switches = (
            ("exposure_us", cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL, (AUTOMATIC, FULLY_AUTOMATIC)),
            ("white_balance_k", cv2.CAP_PROP_AUTO_WB, 0.0, (1.0,)),
        )
        for entry, name, manual, _ in switches:
            # Left at first also where it is wanted: it may hold the gain.
            if not _is_set(capture, name, manual) and getattr(settings, entry) is not None:
                raise DeviceError(
                    f"{self._where(entry)}, but {settings.serial} stays automatic (mode "
                    f"{capture.get(name):g}): leave the entry out"
                )
        for entry, name, number in (
            ("exposure_us", cv2.CAP_PROP_EXPOSURE, controls.EXPOSURE),
            ("gain", cv2.CAP_PROP_GAIN, controls.GAIN),
            ("white_balance_k", cv2.CAP_PROP_WB_TEMPERATURE, controls.WHITE_BALANCE),
        ):
            control = query_control(settings.serial, number)
            if getattr(settings, entry) is not None:
                self._set_entry(capture, entry, name, control)
            elif entry == "gain" and control is not None:
                self._set_default_gain(capture, control.default)
        for entry, name, _, words in switches:
            is_wanted = getattr(settings, entry) is None
            if is_wanted and not any(_is_set(capture, name, word) for word in words):
                log.warning(
                    "camera %s: %s of %s does not become automatic (mode %g)",
                    *(settings.role, entry, settings.serial, capture.get(name)),
                )

    def _set_entry(self, capture: Any, entry: str, name: Any, control: Control | None) -> None:
        """Set a property as the cell file says, or to the nearest value that the device has."""
        value, unit = getattr(self._settings, entry), 1
        if entry == "exposure_us":
            unit, control = EXPOSURE_STEP_US, control or ANY_EXPOSURE
        if control is not None:
            low, high, step = (unit * size for size in (control.low, control.high, control.step))
            value = nearest_value(self._where(entry), value, low, high, step)
        if not _is_set(capture, name, value / unit):
            path = self._settings.serial
            raise DeviceError(
                f"camera {self._settings.role}: {path} did not take {entry} {value:g}, it stays "
                f"at {unit * capture.get(name):g}: see its range with 'v4l2-ctl -d {path} "
                "--list-ctrls', or leave the entry out"
            )

    def _set_default_gain(self, capture: Any, default: int) -> None:
        """Set the gain as the device has it from the factory: it keeps that of others."""
        if not _is_set(capture, self._cv2.CAP_PROP_GAIN, default):
            log.warning(
                "camera %s: gain of %s is not set to its default %d, it stays at %g",
                *(self._settings.role, self._settings.serial, default),
                capture.get(self._cv2.CAP_PROP_GAIN),
            )

    def _where(self, entry: str) -> str:
        return f"camera {self._settings.role}: {entry} is {getattr(self._settings, entry)}"

    def _run(
        self, capture: Any, on_frame: FrameHandler, stop: threading.Event, clock: FrameClock
    ) -> None:
        try:
            while not stop.is_set():
                found, image = capture.read()
                if not found:
                    return  # silence makes the supervisor open the camera again
                # By V4L2's rules a driver stamps with the monotonic clock.
                stamp_ns = round(capture.get(self._cv2.CAP_PROP_POS_MSEC) * 1e6)
                wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
                age_ns = clock.age_ns(stamp_ns, now_ns, now_ns)
                self._number += 1
                if age_ns is None:
                    continue
                rgb = self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB)
                if not stop.is_set():
                    on_frame(Frame(image=rgb, number=self._number, stamp_ns=wall_ns - age_ns))
        finally:
            capture.release()


def _is_set(capture: Any, name: Any, value: float) -> bool:
    """Set a property and read it back: whether the device took it."""
    return bool(capture.set(name, float(value))) and is_taken(float(capture.get(name)), value)
