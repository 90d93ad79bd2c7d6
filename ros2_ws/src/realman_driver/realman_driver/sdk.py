"""The vendor's SDK in the link process: one connection to one arm, then the process ends.

Its locks and thread mode are process-wide, a failed or deleted handle can leave a lock behind or
lose one of its threads for ever, and a deletion during a push is a segmentation fault. So a
process connects once and never deletes: a link that is lost is a process that ends. The state
push is not left to the library either: while its stop waits for a reply, or a question while the
arm stops, it takes no packet, and a long list of errors ends the process.
"""

import functools
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ate_core.errors import DeviceError
from realman_driver import records
from realman_driver.records import Identity

SILENT = 4
"""Log level that keeps the library off stdout."""
CYCLE = 0.005
"""Unit of the push setting [s]."""
TOOL_NAME = "gripper"
TOOL_FRAME = 2
"""Force coordinate of the push: the tool frame."""


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """What the link process must know of its arm."""

    ip: str
    """Address of the controller."""
    tcp_port: int
    """Its command port."""
    udp_port: int
    """Local port of the state push."""
    cycle: int
    """Period of the state push in units of 5 ms."""
    model: str
    """Its model in the cell file."""
    joint_names: Sequence[str]
    """Its joints (n)."""
    joint_speed: Sequence[float]
    """Largest speeds of the model's joints (n,) [rad/s]."""
    base_pose: Sequence[float]
    """Its base in the world: x, y, z [m], qx, qy, qz, qw."""
    tool_length: float
    """Flange to grasp point along z [m]."""
    payload: float
    """Mass at the flange [kg]."""

    @property
    def joints(self) -> int:
        """Number of joints."""
        return len(self.joint_names)

    @property
    def where(self) -> str:
        """The controller, for messages."""
        return f"arm controller {self.ip}:{self.tcp_port}"


@functools.cache
def load_sdk() -> ModuleType:
    """Import the SDK.

    Raises:
        DeviceError: the library cannot be loaded.
    """
    try:
        from Robotic_Arm import rm_robot_interface as sdk
    except (ImportError, OSError) as error:
        raise DeviceError(
            f"the RealMan SDK cannot be loaded ({error}): pip install Robotic_Arm==1.1.6"
        ) from None
    loaded: ModuleType = sdk
    return loaded


def open_arm(config: LinkConfig) -> Any:
    """Connect; once in a process.

    Returns:
        A connected ``RoboticArm``.

    Raises:
        DeviceError: the controller does not answer as it should.
    """
    sdk = load_sdk()
    arm = sdk.RoboticArm(sdk.rm_thread_mode_e.RM_DUAL_MODE_E)
    handle = arm.rm_create_robot_arm(config.ip, config.tcp_port, SILENT)
    if handle.id == -1:
        raise DeviceError(
            f"{config.where} accepts the connection but does not answer as an RM75: check the ip "
            "in the cell file, the controller's firmware and that it has started up"
        )
    return arm


def set_up(arm: Any, config: LinkConfig) -> None:
    """Direct the state push to this host and declare the tool.

    Raises:
        DeviceError: the controller refuses, or has another number of joints.
    """
    sdk = load_sdk()
    freedom = arm.rm_get_robot_info()[1].get("arm_dof", 0)
    if freedom != config.joints:
        raise DeviceError(
            f"{config.where} has {freedom} joints, the cell file names {config.joints}: "
            "check the ip"
        )
    custom = sdk.rm_udp_custom_config_t(
        joint_speed=1, lift_state=0, expand_state=0, arm_current_status=1, hand_state=0,
        aloha_state=0, plus_base=0, plus_state=0,
    )  # fmt: skip
    push = sdk.rm_realtime_push_config_t(
        cycle=config.cycle,
        enable=True,
        port=config.udp_port,
        force_coordinate=TOOL_FRAME,
        ip=local_address_towards(config.ip),
        custom_config=custom,
    )
    code = arm.rm_set_realtime_push(push)
    if code != 0:
        raise DeviceError(f"{config.where} refused the state push ({code}): check its firmware")
    declare_tool(sdk, arm, config)
    code, mode = arm.rm_get_arm_run_mode()
    if code == 0 and mode == 0:
        raise DeviceError(
            f"{config.where} is in simulation mode (0), need 1: its arm would not move; choose "
            "the real mode on the pendant"
        )
    code, power = arm.rm_get_arm_power_state()
    if code == 0 and power == 0:
        raise DeviceError(f"{config.where} has its arm's power off: switch it on at the pendant")


def declare_tool(sdk: ModuleType, arm: Any, config: LinkConfig) -> None:
    """Make the cell's gripper the active tool and read back that it is.

    Its payload keeps collision detection from seeing a false load. A tool of this name may be
    stored already, with other figures: then it is updated, or refused.

    Raises:
        DeviceError: the controller keeps another tool.
    """
    middle = config.tool_length / 2
    tool = sdk.rm_frame_t(
        TOOL_NAME, (0, 0, config.tool_length, 0, 0, 0), config.payload, 0, 0, middle
    )
    arm.rm_set_manual_tool_frame(tool)  # refused where the name is taken
    code = arm.rm_change_tool_frame(TOOL_NAME)
    if code != 0:
        raise DeviceError(
            f"{config.where} refused the tool {TOOL_NAME!r} ({code}): delete a tool, at most 10 "
            "fit"
        )
    wrong = _other_tool(arm, config)
    if wrong:
        arm.rm_update_tool_frame(tool)
        arm.rm_change_tool_frame(TOOL_NAME)
        wrong = _other_tool(arm, config)
    if wrong:
        raise DeviceError(
            f"{config.where} keeps another tool under the name {TOOL_NAME!r}: {wrong}; delete it "
            "on the pendant, or correct tool_length and payload_kg in the cell file"
        )


def _other_tool(arm: Any, config: LinkConfig) -> str:
    """What of the active tool is not the cell's; empty when it is the cell's."""
    code, active = arm.rm_get_current_tool_frame()
    if code != 0:
        return f"it is not told ({code})"
    if active["name"] != TOOL_NAME:
        return f"active is {active['name']!r}"
    wrong = [
        f"{name} is {value:g}, the cell says {wanted:g}"
        for name, value, wanted, tolerance in (
            ("length [mm]", 1e3 * active["pose"][2], 1e3 * config.tool_length, 0.1),
            ("sideways x [mm]", 1e3 * active["pose"][0], 0.0, 0.1),
            ("sideways y [mm]", 1e3 * active["pose"][1], 0.0, 0.1),
            ("turn rx [rad]", active["pose"][3], 0.0, 2e-3),
            ("turn ry [rad]", active["pose"][4], 0.0, 2e-3),
            ("turn rz [rad]", active["pose"][5], 0.0, 2e-3),
            ("payload [kg]", active["payload"], config.payload, 2e-3),
            # The SDK takes the centre of mass in metres and gives it in millimetres.
            ("centre x [mm]", active["x"], 0.0, 0.6),
            ("centre y [mm]", active["y"], 0.0, 0.6),
            ("centre z [mm]", active["z"], 500.0 * config.tool_length, 0.6),
        )
        if not abs(value - wanted) <= tolerance
    ]
    return ", ".join(wrong)


def read_identity(arm: Any, config: LinkConfig) -> Identity:
    """Ask the controller what it is.

    Raises:
        DeviceError: it does not answer one of the questions.
    """

    def ask(name: str) -> Any:
        code, value = getattr(arm, name)()
        if code != 0:
            raise DeviceError(
                f"{config.where} does not answer {name} ({code}): check its firmware"
            )
        return value

    info, software = ask("rm_get_robot_info"), ask("rm_get_arm_software_info")
    dh = ask("rm_get_DH_data")
    rows = zip(dh["alpha"], dh["a"], dh["d"], dh["offset"], strict=True)
    table = [number for row in rows for number in row]
    work, tool = ask("rm_get_current_work_frame"), ask("rm_get_current_tool_frame")
    install = arm.rm_get_install_pose()

    def limits(name: str) -> tuple[float, ...]:
        return records.seven(tuple(ask(f"rm_get_joint_{name}")))

    return Identity(
        product=str(software.get("product_version", "")),
        model=str(info.get("arm_model", "")),
        force_type=str(info.get("force_type", "")),
        firmware=str(software.get("ctrl_info", {}).get("version", "")),
        work_frame=work["name"],
        tool=tool["name"],
        generation=int(info.get("robot_controller_version", 0)),
        joints=int(info.get("arm_dof", 0)),
        lower=limits("min_pos"),
        upper=limits("max_pos"),
        speed=limits("max_speed"),
        acceleration=limits("max_acc"),
        dh=(*table, *(0.0,) * (28 - len(table))),
        work_pose=tuple(work["pose"]),
        tool_pose=tuple(tool["pose"]),
        load=(tool["payload"], tool["x"], tool["y"], tool["z"]),
        install=(install["x"], install["y"], install["z"]),
    )


def open_push(config: LinkConfig) -> socket.socket:
    """The socket on which the controller's state packets arrive.

    The library binds the same port at all addresses; bound to one, ours is the closer match and
    gets every packet.

    Raises:
        DeviceError: no route, or the port cannot be used.
    """
    push = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    push.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        push.bind((local_address_towards(config.ip), config.udp_port))
    except OSError as error:
        push.close()
        raise DeviceError(
            f"UDP port {config.udp_port} for the state of {config.ip} cannot be used "
            f"({error.strerror}): choose another udp_port in the cell file"
        ) from None
    return push


def local_address_towards(ip: str) -> str:
    """Address of this host on the network of a device.

    Raises:
        DeviceError: there is no route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((ip, 9))  # sends nothing
        except OSError as error:
            raise DeviceError(
                f"no route to {ip} ({error.strerror}): set up the network of the arms"
            ) from None
        return str(probe.getsockname()[0])
