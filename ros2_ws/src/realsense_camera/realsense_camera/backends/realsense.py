"""A RealSense camera through librealsense."""

from typing import Any

from ate_core.errors import DeviceError
from realsense_camera.backends.sdk import (
    SensorStream,
    identity_of,
    load_sdk,
    matches,
    set_sensor_options,
)
from realsense_camera.camera import CameraSettings, FrameHandler, Intrinsics


class RealsenseBackend:
    """Open the camera with the wanted serial number and use its colour stream."""

    is_noisy = True

    def __init__(self, settings: CameraSettings, context: Any = None) -> None:
        """Load the SDK; ``context`` may carry other devices than those on USB.

        Raises:
            DeviceError: the SDK cannot be loaded.
        """
        self._settings = settings
        self._sdk = load_sdk()
        self._context = self._given_context = context
        self._stream: SensorStream | None = None
        self.identity: dict[str, str] = {}

    def open(self, on_frame: FrameHandler) -> Intrinsics | None:
        """Find the camera and start its stream."""
        device = self._find_device()
        self.identity = identity_of(self._sdk, device)
        sensor, profile = self._find_profile(device)
        if sensor.supports(self._sdk.option.global_time_enabled):
            # Frames then carry the host's wall time instead of the camera's own.
            sensor.set_option(self._sdk.option.global_time_enabled, 1)
        set_sensor_options(self._sdk, sensor, self._settings)
        self._stream = SensorStream(self._sdk, sensor, profile, on_frame)
        return self._stream.intrinsics

    def close(self) -> None:
        """Stop the stream; the next `open` looks for devices anew."""
        stream, self._stream = self._stream, None
        self._context = self._given_context
        if stream is not None:
            stream.close()

    def _find_device(self) -> Any:
        if self._context is None:
            self._context = self._sdk.context()
        devices = {
            device.get_info(self._sdk.camera_info.serial_number): device
            for device in self._context.query_devices()
            if device.supports(self._sdk.camera_info.serial_number)
        }
        wanted = self._settings.serial
        if wanted in devices:
            return devices[wanted]
        if not wanted and len(devices) == 1:
            return next(iter(devices.values()))
        if not wanted and devices:
            raise DeviceError(
                f"camera {self._settings.role} has no serial, and {len(devices)} cameras are "
                f"connected ({', '.join(sorted(devices))}): write its own into "
                f"cameras.{self._settings.role}.serial"
            )
        raise DeviceError(
            f"camera {self._settings.role} with serial {wanted!r} is not connected, found "
            f"{sorted(devices) or 'none'}: check cable and cameras.{self._settings.role}.serial. "
            f"pyrealsense2 >= 2.55.1 (here {self._sdk.__version__}) does not list an L515: use "
            "backend v4l2 for it, or pyrealsense2==2.54.2.5684 on Python <= 3.11"
        )

    def _find_profile(self, device: Any) -> tuple[Any, Any]:
        # All sensors are searched: the D405 has its colour stream on the stereo module.
        offered = set()
        for sensor in device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if matches(self._sdk, profile, self._settings):
                    return sensor, profile
                if profile.stream_type() == self._sdk.stream.color:
                    video = profile.as_video_stream_profile()
                    offered.add(f"{video.width()}x{video.height()}@{video.fps()}")
        wanted = f"{self._settings.width}x{self._settings.height}@{self._settings.fps}"
        raise DeviceError(
            f"camera {self._settings.role} offers no rgb8 stream {wanted}: set one of "
            f"{', '.join(sorted(offered)) or 'none'} in cell.yaml; a USB 2 cable offers fewer"
        )
