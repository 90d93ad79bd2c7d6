"""What ``cell.yaml`` says of one arm, gripper or operator."""

from dataclasses import dataclass
from typing import Literal

from ate_core.strict import require

JOINTS = 7


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """One RM75 arm."""

    namespace: str
    """ROS namespace, for instance ``/left``."""
    ip: str
    """Address of the controller."""
    tcp_port: int = 8080
    """Command port of the controller."""
    udp_port: int
    """Local port for the state push; one per arm and process."""
    udp_cycle_ms: int = 5
    """Period of the state push [ms], a multiple of 5."""
    base_pose: tuple[float, ...]
    """Base in the world: x, y, z [m], qx, qy, qz, qw."""
    home: tuple[float, ...]
    """Resting posture [rad]."""
    joint_names: tuple[str, ...]
    """Names in joint states and commands."""
    joint_lower: tuple[float, ...]
    """Lower limits [rad]."""
    joint_upper: tuple[float, ...]
    """Upper limits [rad]."""
    joint_speed: tuple[float, ...]
    """Largest speeds of the arm [rad/s]."""
    tool_length: float = 0.16
    """Flange to grasp point along the flange's z [m]."""
    payload_kg: float = 0.43
    """Mass at the flange [kg]."""

    def __post_init__(self) -> None:
        for name in ("home", "joint_names", "joint_lower", "joint_upper", "joint_speed"):
            count = len(getattr(self, name))
            require(
                count == JOINTS,
                f"arm {self.namespace}: {name} has {count} entries, the RM75 has {JOINTS} joints",
            )
        require(
            len(self.base_pose) == 7,
            f"arm {self.namespace}: base_pose has {len(self.base_pose)} numbers, need x y z "
            "qx qy qz qw",
        )
        require(
            self.udp_cycle_ms >= 5 and self.udp_cycle_ms % 5 == 0,
            f"arm {self.namespace}: udp_cycle_ms is {self.udp_cycle_ms}; need a multiple of 5",
        )
        for low, home, high in zip(self.joint_lower, self.home, self.joint_upper, strict=True):
            require(
                low <= home <= high,
                f"arm {self.namespace}: home angle {home} rad lies outside [{low}, {high}]",
            )


@dataclass(frozen=True, kw_only=True)
class GripperConfig:
    """One OmniPicker gripper."""

    namespace: str
    """ROS namespace of its arm."""
    port: str
    """Serial device; a stable link, for instance under /dev/serial/by-id."""
    baud: int = 115200
    """Line speed [bit/s]."""
    device_id: int = 1
    """Id in the RS485 frame."""
    force: int = 255
    """Gripping force, 1..255 of the largest."""
    speed: int = 255
    """Speed, 1..255 of the largest."""
    stroke_m: float = 0.12
    """Opening between the fingers at ratio 1 [m]."""

    def __post_init__(self) -> None:
        for name in ("force", "speed"):
            value = getattr(self, name)
            require(
                1 <= value <= 255, f"gripper {self.namespace}: {name} is {value}; need 1 to 255"
            )


@dataclass(frozen=True, kw_only=True)
class OperatorConfig:
    """One operator with a headset and a Joy-Con, driving one arm."""

    arm: Literal["left", "right"]
    """Arm this operator drives."""
    hand: Literal["left", "right"]
    """Hand whose wrist is followed."""
    headset_ip: str
    """Address of the Vision Pro."""
    headset_port: int = 12345
    """Port of its tracking service; fixed in the app."""
    joycon_serial: str
    """Bluetooth address of the Joy-Con: the operator is bound to it, not to discovery order."""
    joycon_side: Literal["left", "right"]
    """Which Joy-Con it is."""
    scale: float = 1.0
    """Gripper metres per hand metre."""
    yaw: float = 0.0
    """Direction the operator faces, about the world's z from its x [rad]."""
    hand_rotation: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)
    """Rotation xyzw from tool to wrist frame."""
