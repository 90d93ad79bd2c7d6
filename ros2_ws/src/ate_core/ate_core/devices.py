"""What ``cell.yaml`` says of one arm, gripper or operator."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ate_core.entry_checks import (
    Angle,
    BluetoothAddress,
    DeviceName,
    HostAddress,
    JointName,
    JointSpeed,
    OneOf,
    Port,
    Pose,
    Quaternion,
    Range,
    RosName,
)
from ate_core.operator_buttons import GripperInput, operator_buttons
from ate_core.strict import require

Side = Literal["left", "right"]
"""Sides of the cell, of a person and of a pair of devices."""
BAUD_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1000000, 2000000)
"""Line speeds that serial adapters have [bit/s]."""
LEAST_FORCE = 5.0
"""Smallest force that may be felt most: a fifth of it is the noise of the arm's sensor [N]."""
POSE_SIZE = 7
"""Numbers of a pose: x, y, z [m], qx, qy, qz, qw."""
DEFAULT_DRIVER = "realman"
"""Driver of an arm in files written before arms named theirs."""
DEFAULT_TRANSPORT = "rs485"
DEFAULT_MODEL = "rm75_6f"
"""Model of an arm in files written before arms named theirs."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Bounds of the commands to one joint, inside its limits: away from a singular posture."""

    lower: Angle | None = None
    """Smallest angle ever commanded; None: the limit decides [rad]."""
    upper: Angle | None = None
    """Largest angle ever commanded; None: the limit decides [rad]."""


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """One arm. Joints, limits, guards and home come from its model when a cell file is read."""

    driver: str = DEFAULT_DRIVER
    """Name of its driver, from `ate_core.drivers`."""
    model: str = DEFAULT_MODEL
    """Name of its model, or the path of the model's YAML file."""
    namespace: Annotated[str, RosName(is_absolute=True)]
    """ROS namespace, for instance ``/left``."""
    ip: Annotated[str, HostAddress()] = ""
    """Address of the controller; realman."""
    tcp_port: Port = 8080
    """Command port of the controller; realman."""
    udp_port: Annotated[int, Range(0, 65535)] = 0
    """Local port for the state push; one per arm and process; realman."""
    udp_cycle_ms: Annotated[int, Range(5, 100, "ms")] = 5
    """Period of the state push [ms], a multiple of 5; realman."""
    options: dict[str, str] = field(default_factory=dict)
    """What its driver is told besides, by name; the driver's README lists them."""
    base_pose: Annotated[tuple[float, ...], Pose(reach=3.0)]
    """Base in the world: x, y, z [m], qx, qy, qz, qw."""
    home: tuple[Angle, ...]
    """Resting posture [rad]."""
    joint_names: tuple[Annotated[str, JointName()], ...]
    """Names in joint states and commands, base first."""
    joint_lower: tuple[Angle, ...]
    """Lower limits [rad]."""
    joint_upper: tuple[Angle, ...]
    """Upper limits [rad]."""
    joint_speed: tuple[JointSpeed, ...]
    """Largest speeds of the arm [rad/s]."""
    guards: dict[str, Guard] = field(default_factory=dict)
    """Name from ``joint_names`` -> bounds inside the limits."""
    tool_length: Annotated[float, Range(0.02, 0.6, "m")] = 0.16
    """Flange to grasp point along the flange's z [m]."""
    payload_kg: Annotated[float, Range(0.05, 20.0, "kg")] = 0.43
    """Mass at the flange [kg]."""

    def __post_init__(self) -> None:
        joints = len(self.joint_names)
        for name in ("home", "joint_lower", "joint_upper", "joint_speed"):
            count = len(getattr(self, name))
            require(
                count == joints,
                f"arm {self.namespace}: {name} has {count} entries, the model {self.model} has "
                f"{joints} joints",
            )
        require(
            len(self.base_pose) == POSE_SIZE,
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
        for name in self.guards:
            require(
                name in self.joint_names,
                f"arm {self.namespace}: guards name the joint {name!r}; it has "
                f"{', '.join(self.joint_names)}",
            )

    def check_guards(self, margin: float) -> None:
        """Refuse guards that leave a joint no room, or the home posture outside.

        Not part of reading an old file's text: its arm may have taken the guards of another.

        Args:
            margin: distance kept from every joint limit [rad].

        Raises:
            ContractError: the joint, the bounds and the remedy.
        """
        rows = zip(self.joint_names, *self.bounds(margin), strict=True)
        for (name, low, high), home in zip(rows, self.home, strict=True):
            guard = self.guards.get(name, Guard())
            require(
                low < high,
                f"arm {self.namespace}: {name} may be commanded from {low:g} to {high:g} rad, "
                "which is no room: widen its guards, or lessen safety.position_margin",
            )
            outside = (guard.lower is not None and home < guard.lower) or (
                guard.upper is not None and home > guard.upper
            )
            require(
                not outside,
                f"arm {self.namespace}: home angle {home} rad of {name} lies outside its guards "
                f"({guard.lower} to {guard.upper}): move home, or widen the guards",
            )

    def bounds(self, margin: float = 0.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Smallest and largest angles to command: limits less a margin, and the guards [rad].

        Args:
            margin: distance kept from every joint limit; a guard needs none [rad].
        """
        lower, upper = [], []
        for name, low, high in zip(
            self.joint_names, self.joint_lower, self.joint_upper, strict=True
        ):
            guard = self.guards.get(name, Guard())
            low, high = low + margin, high - margin
            lower.append(low if guard.lower is None else max(low, guard.lower))
            upper.append(high if guard.upper is None else min(high, guard.upper))
        return tuple(lower), tuple(upper)


@dataclass(frozen=True, kw_only=True)
class GripperConfig:
    """One OmniPicker gripper."""

    namespace: Annotated[str, RosName(is_absolute=True)]
    """ROS namespace of its arm."""
    port: Annotated[str, DeviceName()]
    """Serial device; a stable link, for instance under /dev/serial/by-id."""
    transport: str = DEFAULT_TRANSPORT
    """How its frames travel, a name from `ate_core.drivers.GRIPPER_TRANSPORTS`."""
    baud: Annotated[int, OneOf(BAUD_RATES, "bit/s")] = 115200
    """Line speed [bit/s] of ``rs485``; the other transports have one of their own."""
    device_id: Annotated[int, Range(1, 254)] = 1
    """Id in the RS485 frame."""
    force: Annotated[int, Range(1, 255)] = 255
    """Gripping force, 1..255 of the largest."""
    speed: Annotated[int, Range(1, 255)] = 255
    """Speed, 1..255 of the largest."""
    stroke_m: Annotated[float, Range(0.02, 0.25, "m")] = 0.12
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

    arm: Side
    """Arm this operator drives."""
    hand: Side
    """Hand whose wrist is followed."""
    headset_ip: Annotated[str, HostAddress()]
    """Address of the Vision Pro."""
    headset_port: Port = 12345
    """Port of its tracking service; fixed in the app."""
    joycon_serial: Annotated[str, BluetoothAddress()]
    """Bluetooth address of the Joy-Con: the operator is bound to it, not to discovery order."""
    joycon_side: Side
    """Which Joy-Con it is."""
    scale: Annotated[float, Range(0.1, 3.0)] = 1.0
    """Gripper metres per hand metre."""
    yaw: Angle = 0.0
    """Direction the operator faces, about the world's z from its x [rad]."""
    hand_rotation: Quaternion = (0.0, 0.0, 0.0, 1.0)
    """Rotation xyzw from tool to wrist frame."""
    buttons: dict[str, str] = field(default_factory=dict)
    """Action -> button of the Joy-Con where it is not the default; empty: none."""
    gripper_input: GripperInput = "trigger"
    """Closed while the trigger is held, switched by each press, or led by the stick."""
    felt_force: Annotated[float, Range(0.0, 200.0, "N")] = 0.0
    """Force at the tool at which the hand feels the strongest rumble; 0: none is felt [N]."""

    def __post_init__(self) -> None:
        operator_buttons(self.joycon_side, self.buttons)
        require(
            self.felt_force == 0.0 or self.felt_force >= LEAST_FORCE,
            f"felt_force is {self.felt_force} N; need {LEAST_FORCE:g} to 200 N, less is noise of "
            "the sensor, or 0 for none",
        )
