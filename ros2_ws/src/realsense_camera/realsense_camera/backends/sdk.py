"""The part of librealsense that real and simulated cameras share: a colour sensor's callback."""

import logging
import time
from typing import Any

import numpy as np

from ate_core.errors import DeviceError
from realsense_camera.camera import CameraSettings, Frame, FrameHandler, Intrinsics
from realsense_camera.frame_clock import FrameClock
from realsense_camera.sensor_values import EXPOSURE_STEP_US, is_taken, nearest_value

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

    A camera keeps what the program before has set: what is neither given nor automatic is set to
    the camera's default.

    Raises:
        DeviceError: the sensor has no such option, not in this range, or does not take it.
    """
    option = sdk.option
    switches = {
        "exposure_us": option.enable_auto_exposure,
        "white_balance_k": option.enable_auto_white_balance,
    }
    switches = {entry: name for entry, name in switches.items() if sensor.supports(name)}
    is_given = {entry: getattr(settings, entry) is not None for entry in switches}
    for entry, switch in switches.items():
        # Off at first also where it is wanted: a camera switches it off when its gain is set.
        problem = _set_option(sensor, switch, 0.0)
        if problem and is_given[entry]:
            raise DeviceError(
                f"{_where(settings, entry)}, but this camera stays automatic ({problem}): leave "
                "the entry out"
            )
    for entry, name in (
        ("exposure_us", option.exposure),
        ("gain", option.gain),
        ("white_balance_k", option.white_balance),
    ):
        if getattr(settings, entry) is not None:
            _set_entry(sensor, settings, entry, name, is_exposure=name == option.exposure)
        elif entry not in switches and sensor.supports(name):
            _set_default(sensor, settings, entry, name)
    for entry, switch in switches.items():
        problem = "" if is_given[entry] else _set_option(sensor, switch, 1.0)
        if problem:
            log.warning(
                "camera %s: %s does not become automatic (%s)", settings.role, entry, problem
            )


def _where(settings: CameraSettings, entry: str) -> str:
    return f"camera {settings.role}: {entry} is {getattr(settings, entry)}"


def _set_entry(
    sensor: Any, settings: CameraSettings, entry: str, name: Any, is_exposure: bool
) -> None:
    """Set an option as the cell file says, or to the nearest value that the sensor has."""
    where = _where(settings, entry)
    if not sensor.supports(name):
        raise DeviceError(f"{where}, but its colour sensor has no such setting: leave it out")
    # A colour sensor counts in steps of 100 us, the stereo sensor of a D405 in 1 us.
    unit = EXPOSURE_STEP_US if is_exposure and sensor.is_color_sensor() else 1
    bounds = sensor.get_option_range(name)
    low, high, step = (unit * size for size in (bounds.min, bounds.max, bounds.step or 1.0))
    value = nearest_value(where, getattr(settings, entry), low, high, step)
    problem = _set_option(sensor, name, value / unit)
    if problem:
        raise DeviceError(f"{where}, but this camera does not take it ({problem}): leave it out")


def _set_default(sensor: Any, settings: CameraSettings, entry: str, name: Any) -> None:
    """Set an option as the camera has it from the factory; one that cannot be set is told."""
    default = float(sensor.get_option_range(name).default)
    problem = _set_option(sensor, name, default)
    if problem:
        log.warning(
            "camera %s: %s is not set to its default %g (%s)",
            *(settings.role, entry, default, problem),
        )


def _set_option(sensor: Any, name: Any, value: float) -> str:
    """Set an option; why the sensor did not take it, empty where it did."""
    try:
        sensor.set_option(name, value)
        got = float(sensor.get_option(name))
    except RuntimeError as error:
        return str(error)
    return "" if is_taken(got, value) else f"it stays at {got:g}"


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
