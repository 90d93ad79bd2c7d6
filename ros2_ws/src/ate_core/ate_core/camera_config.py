"""What ``cell.yaml`` says of one camera, and where it looks from when it is simulated."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, get_args

import numpy as np

from ate_core.devices import Side
from ate_core.entry_checks import DeviceName, Metres, Range
from ate_core.errors import ContractError
from ate_core.registry import Registry
from ate_core.strict import require

CAMERA_BACKENDS = Registry(
    what="camera back end",
    group="ate.camera_backends",
    builtin={
        "realsense": "realsense_camera.backends.realsense:RealsenseBackend",
        "v4l2": "realsense_camera.backends.v4l2:V4l2Backend",
        "software": "realsense_camera.backends.software:SoftwareBackend",
    },
    error=ContractError,
)
"""Libraries that read cameras. Each is imported only by the process of a camera that uses it."""

LARGEST_IMAGE = 4096
"""Largest height or width that is drawn [pixel]: software graphics promise this much."""
WORLD_MOUNT = "world"
"""Mount of a camera that stands in the cell."""

OTHER_STREAMS = frozenset(
    {"objects", "scene_info", "policy_status"}
    | {
        f"{side}_{stream}"
        for side in get_args(Side)
        for stream in (
            *("arm_state", "arm_command", "wrench", "tcp_pose", "arm_status"),
            *("gripper_state", "gripper_command", "gripper_status"),
            *("wrist_pose", "joy", "operator_status"),
        )
    }
)
"""Names of the cell's streams that are no cameras, as `ate_core.streams` gives them."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # part of a topic, and a data set in HDF5


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """Where a camera is and what it sees; coordinates are those of its mount [m]."""

    mount: str
    """What carries it: ``world``, ``left_flange`` or ``right_flange`` (z along the tool)."""
    position: tuple[Metres, ...]
    """Optical centre, x y z [m]."""
    look_at: tuple[Metres, ...] = ()
    """Point in the middle of the image, x y z [m]."""
    up: tuple[Annotated[float, Range(-1.0, 1.0)], ...] = (0.0, 0.0, 1.0)
    """Direction that is up in the image, with ``look_at``."""
    quaternion: tuple[Annotated[float, Range(-1.0, 1.0)], ...] = ()
    """In place of ``look_at``: rotation xyzw of the optical frame (x right, y down, z forward)."""
    fovy: Annotated[float, Range(5.0, 150.0, "deg")]
    """Vertical field of view [deg]."""

    def check(self, where: str) -> None:
        """Refuse a view that cannot be drawn; ``where`` names the camera in messages.

        Raises:
            ContractError: what, the value and what is needed.
        """
        for name, size in (("position", 3), ("up", 3), ("look_at", 3), ("quaternion", 4)):
            value = getattr(self, name)
            optional = name in ("look_at", "quaternion") and not value
            require(
                optional or len(value) == size, f"{where}: {name} is {value}; need {size} numbers"
            )
        require(
            bool(self.look_at) != bool(self.quaternion),
            f"{where}: give either look_at or quaternion",
        )
        require(1.0 <= self.fovy <= 170.0, f"{where}: fovy is {self.fovy} deg; need 1 to 170")
        if self.quaternion:
            norm = float(np.linalg.norm(self.quaternion))
            require(
                abs(norm - 1.0) < 1e-3, f"{where}: quaternion has the length {norm:.3f}; need 1"
            )
            return
        forward = np.subtract(self.look_at, self.position)
        sideways = float(np.linalg.norm(np.cross(forward, self.up)))
        require(
            sideways > 1e-6,
            f"{where}: up is {self.up}, along the line of sight from {self.position} to "
            f"{self.look_at}; give another direction or point",
        )


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """One colour camera."""

    key: str
    """Name in files and policies, for instance ``cam_high``."""
    serial: Annotated[str, DeviceName()]
    """Serial number, or the device path for v4l2."""
    backend: str
    """Library that reads it, a name of `CAMERA_BACKENDS`."""
    width: Annotated[int, Range(64, 8192)]
    """Image width [pixel]."""
    height: Annotated[int, Range(48, 8192)]
    """Image height [pixel]."""
    fps: Annotated[int, Range(1, 120, "Hz")]
    """Images per second [Hz]."""
    jpeg_quality: Annotated[int, Range(1, 100)] = 90
    """JPEG quality, 1..100."""
    exposure_us: Annotated[int, Range(50, 200_000, "us")] | None = None
    """Exposure time [us]; None: the camera chooses."""
    gain: Annotated[int, Range(0, 1024)] | None = None
    """Gain in the camera's own units, beside a fixed exposure; None: the camera's default."""
    white_balance_k: Annotated[int, Range(2000, 10_000, "K")] | None = None
    """Colour temperature [K]; None: the camera chooses."""
    calibration: str = ""
    """camera_info file of ROS's camera_calibration, beside the cell file; empty: the camera's own
    intrinsics."""
    view: CameraView | None = None
    """Where it is; a simulated camera is drawn from there."""

    def __post_init__(self) -> None:
        for name in ("width", "height", "fps"):
            value = getattr(self, name)
            require(value > 0, f"camera {self.key}: {name} is {value}; need > 0")
        require(
            1 <= self.jpeg_quality <= 100,
            f"camera {self.key}: jpeg_quality is {self.jpeg_quality}; need 1 to 100",
        )
        longest = 1_000_000 // self.fps
        require(
            self.exposure_us is None or self.exposure_us <= longest,
            f"camera {self.key}: exposure_us is {self.exposure_us} us, longer than a picture at "
            f"{self.fps} Hz ({longest} us): expose less, or set a lower fps",
        )
        require(
            self.gain is None or self.exposure_us is not None,
            f"camera {self.key}: gain is {self.gain} beside an automatic exposure, which would "
            "undo it: set exposure_us too",
        )
        if self.view is not None:
            self.view.check(f"camera {self.key}: view")


def check_camera_names(cameras: Mapping[str, CameraConfig]) -> None:
    """Refuse names that topics and files cannot carry, and two cameras of one key.

    Raises:
        ContractError: what, the value and what is needed.
    """
    roles: dict[str, str] = {}
    for role, camera in cameras.items():
        for what, name in (("role", role), ("key", camera.key)):
            require(
                _NAME.fullmatch(name) is not None,
                f"camera {role}: {what} is {name!r}; need a letter, then letters, digits and _",
            )
        other = roles.setdefault(camera.key, role)
        require(
            other == role,
            f"cameras {other} and {role} share the key {camera.key!r}: give each its own, or one "
            "would overwrite the other in files",
        )


def check_camera_streams(cameras: Mapping[str, CameraConfig]) -> None:
    """Refuse names by which one camera would be taken for another, or for another stream.

    Raises:
        ContractError: what, the value and what is needed.
    """
    for role, camera in cameras.items():
        others = {other.key for name, other in cameras.items() if name != role}
        require(
            role not in others,
            f"camera {role}: its role is the key of another camera, which would be drawn in its "
            "place: give that camera another key",
        )
        for name in (camera.key, f"{camera.key}_info"):
            require(
                name not in others and name not in OTHER_STREAMS,
                f"camera {role}: the key {camera.key!r} makes the stream {name!r}, which the cell "
                "has already: give the camera another key",
            )


def check_backends(cameras: Mapping[str, CameraConfig]) -> None:
    """Refuse a camera whose back end nobody offers.

    Raises:
        ContractError: the name, with the known ones.
    """
    for role, camera in cameras.items():
        try:
            CAMERA_BACKENDS.require(camera.backend)
        except ContractError as error:
            raise ContractError(f"camera {role}: {error}") from None


def check_simulated_cameras(cameras: Mapping[str, CameraConfig]) -> None:
    """Refuse cameras that the simulated cell cannot draw.

    Args:
        cameras: by role.

    Raises:
        ContractError: what, the value and the remedy.
    """
    for role, camera in cameras.items():
        require(
            camera.backend not in ("realsense", "v4l2"),
            f"camera {role}: backend {camera.backend} opens a real camera; set backend: software "
            f"in simulation.cameras.{role}",
        )
        view = camera.view
        if view is None:
            raise ContractError(
                f"camera {role} has no view, so it cannot be drawn: say where it is in "
                f"simulation.cameras.{role}, for instance view: {{mount: world, position: "
                "[0.3, -0.6, 0.5], look_at: [0.3, 0.0, 0.1], fovy: 45}"
            )
        for name, size in (("width", camera.width), ("height", camera.height)):
            require(
                size <= LARGEST_IMAGE,
                f"camera {role}: {name} is {size}; at most {LARGEST_IMAGE} pixels are drawn, set "
                f"less in simulation.cameras.{role}",
            )
