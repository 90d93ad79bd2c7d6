"""What a camera is to this package: its settings, its frames, and what a back end must do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """One camera and the stream wanted of it."""

    role: str
    """Name of its place in the cell, for instance "overhead"."""
    serial: str
    """Serial number; for v4l2 the path of the video device."""
    backend: str
    """A name of `ate_core.camera_config.CAMERA_BACKENDS`."""
    width: int
    """Image width [pixel]."""
    height: int
    """Image height [pixel]."""
    fps: int
    """Images per second [Hz]."""
    jpeg_quality: int = 90
    """JPEG quality, 1..100."""
    exposure_us: int | None = None
    """Exposure time [us]; None: the camera chooses."""
    gain: int | None = None
    """Gain, in the camera's own units, with a fixed exposure; None: the camera's default, which
    an automatic exposure may change."""
    white_balance_k: int | None = None
    """Colour temperature [K]; None: the camera chooses."""
    calibration: Path | None = None
    """camera_info file (YAML of ROS's camera_calibration) in place of the camera's intrinsics."""
    frame_path: Path | None = None
    """Shared block with the pictures of a simulated camera."""
    fovy: float = 60.0
    """Vertical field of view of a simulated camera [deg]."""

    @classmethod
    def from_cell(cls, cell: Cell, role: str) -> "CameraSettings":
        """Settings of one camera of the cell.

        Raises:
            UsageError: the cell has no camera of this role.
        """
        if role not in cell.cameras:
            raise UsageError(f"no camera {role!r} in the cell; need one of {list(cell.cameras)}")
        camera = cell.cameras[role]
        path = cell.runtime_path(f"frame_{role}.image") if cell.runtime_dir else None
        return cls(
            role=role,
            serial=camera.serial,
            backend=camera.backend,
            width=camera.width,
            height=camera.height,
            fps=camera.fps,
            jpeg_quality=camera.jpeg_quality,
            exposure_us=camera.exposure_us,
            gain=camera.gain,
            white_balance_k=camera.white_balance_k,
            calibration=Path(camera.calibration) if camera.calibration else None,
            frame_path=path,
            fovy=camera.view.fovy if camera.view is not None else cls.fovy,
        )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture."""

    image: NDArray[np.uint8]
    """RGB (height, width, 3); what a back end hands over is valid only during that call, what a
    `CameraStream` hands over may be kept."""
    number: int
    """The device's frame counter."""
    stamp_ns: int
    """Wall time of acquisition [ns]."""


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """Pinhole model of a camera."""

    fx: float
    """Focal length along x [pixel]."""
    fy: float
    """Focal length along y [pixel]."""
    ppx: float
    """Principal point, x [pixel]."""
    ppy: float
    """Principal point, y [pixel]."""
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """Coefficients of the model: k1, k2, p1, p2, k3 of plumb_bob (Brown-Conrady)."""
    model: str = "plumb_bob"
    """Distortion model, in ROS's words: plumb_bob, rational_polynomial or equidistant."""


FrameHandler = Callable[[Frame], None]


class CameraBackend(Protocol):
    """A library that delivers frames.

    Called from one thread; `close` follows each `open`, also one that failed. A back end of a real
    sensor says so with ``is_noisy = True``: no two of its pictures are equal, so that equal ones
    tell of a frozen camera. One whose library knows what the device is keeps that in ``identity``
    from `open` on: model, firmware and serial by these words.
    """

    def open(self, on_frame: FrameHandler) -> Intrinsics | None:
        """Start the stream; frames come from another thread until `close`.

        Returns:
            The camera's intrinsics; None when the back end does not know them.

        Raises:
            DeviceError: the camera is not there or cannot deliver this stream.
        """

    def close(self) -> None:
        """Stop the stream; no frame is handed over afterwards."""
