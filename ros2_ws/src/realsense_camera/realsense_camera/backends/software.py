"""A simulated camera: rendered pictures enter librealsense through a software device.

The node then runs the SDK's own frame path, with frame numbers, timestamps and callback.
"""

import logging
import math
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import DeviceError, UsageError
from ate_core.shared_state import SharedBlock, frame_dtype
from realsense_camera.backends.sdk import MILLISECOND, SensorStream, identity_of, load_sdk
from realsense_camera.camera import CameraSettings, FrameHandler, Intrinsics

log = logging.getLogger(__name__)

_POLL = 0.002
"""Time between two looks at a block whose next picture is due [s]."""
_IDLE_POLL = 0.02
"""The same for a block that has been silent for long [s]."""
_BYTES_PER_PIXEL = 3


def pinhole(width: int, height: int, vertical_fov: float) -> Intrinsics:
    """Intrinsics of an ideal camera with square pixels; ``vertical_fov`` in [deg]."""
    focal = 0.5 * height / math.tan(0.5 * math.radians(vertical_fov))
    return Intrinsics(fx=focal, fy=focal, ppx=0.5 * width, ppy=0.5 * height)


class SoftwareBackend:
    """A `software_device` fed from the shared block that the renderer writes."""

    def __init__(self, settings: CameraSettings) -> None:
        """Load the SDK.

        Raises:
            DeviceError: the SDK cannot be loaded.
            UsageError: the cell is not simulated.
        """
        if settings.frame_path is None:
            raise UsageError(
                f"camera {settings.role}: backend software needs a simulated cell; "
                "start with hardware:=sim"
            )
        self._settings = settings
        self._path = settings.frame_path
        self._sdk = load_sdk()
        self._stream: SensorStream | None = None
        self._pump: threading.Thread | None = None
        self._stop = threading.Event()
        self.identity: dict[str, str] = {}

    def open(self, on_frame: FrameHandler) -> Intrinsics | None:
        """Open the renderer's block and start the software device."""
        settings = self._settings
        block = SharedBlock(self._path, frame_dtype(settings.height, settings.width), create=False)
        device = SoftwareColorDevice(self._sdk, settings)
        self.identity = identity_of(self._sdk, device.device)
        try:
            self._stream = SensorStream(self._sdk, device.sensor, device.profile, on_frame)
        except DeviceError:
            block.close()
            raise
        self._stop.clear()
        self._pump = threading.Thread(
            target=self._run, args=(block, device), name=f"pictures {settings.role}"
        )
        self._pump.start()
        return self._stream.intrinsics

    def close(self) -> None:
        """Stop the feed, then the device."""
        self._stop.set()
        if self._pump is not None:
            self._pump.join()
            self._pump = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _run(self, block: SharedBlock, device: "SoftwareColorDevice") -> None:
        period = 1.0 / self._settings.fps
        seen, wait = block.version, _POLL
        last = time.monotonic()
        try:
            while not self._stop.wait(wait):
                now = time.monotonic()
                if block.version != seen:
                    seen, last = block.version, now
                    device.inject(block.read())
                    wait = 0.7 * period
                else:
                    wait = _POLL if now - last < 4.0 * period else _IDLE_POLL
        except DeviceError as error:
            log.warning("%s", error)
        finally:
            block.close()


class SoftwareColorDevice:
    """A software device with one rgb8 stream."""

    def __init__(self, sdk: Any, settings: CameraSettings) -> None:
        """Make the device; its sensor is opened by `SensorStream`."""
        self._sdk = sdk
        self._width = settings.width
        self.device = sdk.software_device()
        self.device.register_info(sdk.camera_info.name, "Simulated camera")
        self.device.register_info(sdk.camera_info.serial_number, settings.serial)
        self.sensor = self.device.add_sensor("RGB Camera")
        self.profile = self.sensor.add_video_stream(self._describe(settings))
        self._video_profile = self.profile.as_video_stream_profile()

    def inject(self, record: NDArray[np.void]) -> None:
        """Hand one record of `frame_dtype` to the SDK, whose callback runs before this returns."""
        frame = self._sdk.software_video_frame()
        frame.stride = self._width * _BYTES_PER_PIXEL
        frame.bpp = _BYTES_PER_PIXEL
        frame.profile = self._video_profile
        frame.frame_number = int(record["sequence"])
        frame.domain = self._sdk.timestamp_domain.system_time
        # The block carries monotonic time; frames carry the host's wall time, as a camera's do.
        wall_ns = time.time_ns()
        age_ns = time.monotonic_ns() - int(record["time_ns"])
        frame.timestamp = (wall_ns - age_ns) / MILLISECOND
        frame.pixels = record["image"]
        self.sensor.on_video_frame(frame)

    def _describe(self, settings: CameraSettings) -> Any:
        stream = self._sdk.video_stream()
        stream.type, stream.fmt = self._sdk.stream.color, self._sdk.format.rgb8
        stream.index, stream.uid = 0, 1
        stream.width, stream.height = settings.width, settings.height
        stream.fps, stream.bpp = settings.fps, _BYTES_PER_PIXEL
        ideal = pinhole(settings.width, settings.height, settings.fovy)
        intrinsics = self._sdk.intrinsics()
        intrinsics.width, intrinsics.height = settings.width, settings.height
        intrinsics.fx, intrinsics.fy = ideal.fx, ideal.fy
        intrinsics.ppx, intrinsics.ppy = ideal.ppx, ideal.ppy
        intrinsics.model = self._sdk.distortion.brown_conrady
        intrinsics.coeffs = list(ideal.distortion)
        stream.intrinsics = intrinsics
        return stream
