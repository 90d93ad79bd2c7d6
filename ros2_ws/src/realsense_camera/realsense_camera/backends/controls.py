"""What a video device says of its controls, by V4L2's own call: OpenCV does not tell."""

import fcntl
import os
import struct
from dataclasses import dataclass

GAIN, WHITE_BALANCE, EXPOSURE = 0x00980913, 0x0098091A, 0x009A0902
"""V4L2_CID_GAIN, V4L2_CID_WHITE_BALANCE_TEMPERATURE, V4L2_CID_EXPOSURE_ABSOLUTE."""

_QUERY = 0xC0445624
"""VIDIOC_QUERYCTRL."""
_LAYOUT = struct.Struct("=II32siiiiI8x")
"""struct v4l2_queryctrl: id, type, name, minimum, maximum, step, default_value, flags."""
_UNUSABLE = 0x0001 | 0x0004
"""V4L2_CTRL_FLAG_DISABLED and V4L2_CTRL_FLAG_READ_ONLY."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control of a video device, in the device's own unit."""

    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    step: int
    """Between two values."""
    default: int
    """Value that the device begins with."""


def query_control(path: str, number: int) -> Control | None:
    """A control of a video device; None where it has none that can be set, or does not tell.

    Args:
        path: the video device.
        number: V4L2's number of the control.
    """
    asked = bytearray(_LAYOUT.pack(number, 0, b"", 0, 0, 0, 0, 0))
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.ioctl(device, _QUERY, asked)
        finally:
            os.close(device)
    except OSError:
        return None
    _, _, _, low, high, step, default, flags = _LAYOUT.unpack(asked)
    if flags & _UNUSABLE:
        return None
    return Control(low=low, high=high, step=max(step, 1), default=default)
