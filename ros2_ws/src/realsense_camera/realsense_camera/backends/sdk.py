"""The part of librealsense that real and simulated cameras share: a colour sensor's callback."""

import logging
import time
from typing import Any

import numpy as np

from ate_core.errors import DeviceError
from realsense_camera.camera import CameraSettings, Frame, FrameHandler, Intrinsics
from realsense_camera.frame_clock import FrameClock

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
"""Nanoseconds; the SDK's timestamps are milliseconds."""

IDENTITY = {"model": "name", "firmware": "firmware_version", "serial": "serial_number"}
"""Our word for what a device is -> that of the SDK's `camera_info`."""


def load_sdk() -> Any:
    """The module pyrealsense2.

    Raises:
        DeviceError: it or its system library is missing.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        if "libusb" in str(error):
            raise DeviceError(
                "pyrealsense2 cannot load the system library libusb-1.0: install it with "
                "'sudo apt-get install libusb-1.0-0'"
            ) from None
        raise DeviceError(
            f"pyrealsense2 cannot be imported ({error}): install it with "
            "'pip install pyrealsense2'"
        ) from None
    return pyrealsense2


def identity_of(sdk: Any, device: Any) -> dict[str, str]:
    """What a device says of itself, by the words of `IDENTITY`; without what it does not tell."""
    kinds = {word: getattr(sdk.camera_info, name) for word, name in IDENTITY.items()}
    return {
        word: str(device.get_info(kind)) for word, kind in kinds.items() if device.supports(kind)
    }


def wall_stamp_of(sdk: Any, frame: Any) -> int | None:
    """Wall time of acquisition as the SDK tells it [ns]; None where it does not.

    Global and system time are the host's wall clock; a hardware clock counts from the start of the
    camera.
    """
    if frame.get_frame_timestamp_domain() == sdk.timestamp_domain.hardware_clock:
        return None
    return round(float(frame.get_timestamp()) * MILLISECOND)


def intrinsics_of(profile: Any) -> Intrinsics:
    """Intrinsics of an SDK stream profile."""
    found = profile.as_video_stream_profile().get_intrinsics()
    return Intrinsics(
        fx=found.fx,
        fy=found.fy,
        ppx=found.ppx,
        ppy=found.ppy,
        distortion=tuple(float(value) for value in found.coeffs),
    )


def matches(sdk: Any, profile: Any, settings: CameraSettings) -> bool:
    """Whether a stream profile is the RGB stream wanted."""
    if profile.stream_type() != sdk.stream.color or profile.format() != sdk.format.rgb8:
        return False
    video = profile.as_video_stream_profile()
    return (video.width(), video.height(), video.fps()) == (
        settings.width,
        settings.height,
        settings.fps,
    )


def set_sensor_options(sdk: Any, sensor: Any, settings: CameraSettings) -> None:
    """Fix exposure, gain and white balance, or leave them to the camera.

    Raises:
        DeviceError: the sensor has no such option, or not in this range.
    """
    option = sdk.option
    automatic = (
        (option.enable_auto_exposure, settings.exposure_us is None),
        (option.enable_auto_white_balance, settings.white_balance_k is None),
    )
    for name, is_on in automatic:
        if sensor.supports(name):
            sensor.set_option(name, float(is_on))
    exposure = settings.exposure_us
    if exposure is not None and sensor.is_color_sensor():
        # A colour sensor counts in steps of 100 us, the stereo sensor of a D405 in 1 us.
        exposure = max(exposure // 100, 1)
    wanted = (
        ("exposure_us", option.exposure, exposure),
        ("gain", option.gain, settings.gain),
        ("white_balance_k", option.white_balance, settings.white_balance_k),
    )
    for entry, name, value in wanted:
        if value is None:
            continue
        where = f"camera {settings.role}: {entry} is {getattr(settings, entry)}"
        if not sensor.supports(name):
            raise DeviceError(f"{where}, but its colour sensor has no such setting: leave it out")
        bounds = sensor.get_option_range(name)
        if not bounds.min <= value <= bounds.max:
            step = (
                " steps of 100 us" if name == option.exposure and sensor.is_color_sensor() else ""
            )
            raise DeviceError(f"{where}; this camera needs {bounds.min:g} to {bounds.max:g}{step}")
        sensor.set_option(name, float(value))


class SensorStream:
    """An opened colour sensor that hands its frames over."""

    def __init__(self, sdk: Any, sensor: Any, profile: Any, on_frame: FrameHandler) -> None:
        """Open the sensor and start its callback.

        Raises:
            DeviceError: the SDK refuses, for instance because the camera is in use.
        """
        self._sdk = sdk
        self._sensor = sensor
        self._on_frame = on_frame
        self._clock = FrameClock(profile.fps(), time.time_ns(), time.monotonic_ns())
        try:
            sensor.open(profile)
            sensor.start(self._take)
        except RuntimeError as error:
            raise DeviceError(
                f"the camera's stream cannot be started ({error}): close other users of the "
                "camera, or plug it in again"
            ) from None
        self.intrinsics = intrinsics_of(profile)

    def close(self) -> None:
        """Stop the callback; a camera that has been pulled out is let go all the same."""
        for step in (self._sensor.stop, self._sensor.close):
            try:
                step()
            except RuntimeError as error:
                log.debug("closing the camera: %s", error)

    def _take(self, frame: Any) -> None:
        # An exception must not unwind through the SDK's thread.
        try:
            image = np.asanyarray(frame.get_data())
            number = int(frame.get_frame_number())
            wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
            age_ns = self._clock.age_ns(wall_stamp_of(self._sdk, frame), wall_ns, now_ns)
            if age_ns is not None:
                self._on_frame(Frame(image=image, number=number, stamp_ns=wall_ns - age_ns))
        except Exception:
            log.exception("frame dropped")
