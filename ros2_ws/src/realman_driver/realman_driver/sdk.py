"""The vendor's SDK, set up once per process.

Its locks, thread mode and state callback are process-wide, so a driver runs one process per
arm. The callback copies and leaves: a slow one would silently age the data.
"""

import contextlib
import functools
import io
import socket
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ate_core.devices import ArmConfig
from ate_core.errors import DeviceError

SILENT = 4
"""Log level that keeps the library off stdout."""
TOOL_NAME = "gripper"
TOOL_FRAME = 2
"""Force coordinate of the push: the tool frame."""

PushSink = Callable[[float, int, Any], None]
"""Receives monotonic time [s], wall time [ns] and the SDK's push structure."""

PARKING_TIMEOUT = 0.05
"""How long a push is awaited before a handle is deleted: ten periods [s]."""
PARKED_LIMIT = 0.5
"""Longest time that the library's receiving thread is kept from its work [s]."""

_sinks: dict[bytes, PushSink] = {}
_pass = threading.Event()
_pass.set()
_parked = threading.Event()
_connecting = threading.Lock()


@functools.cache
def load_sdk() -> ModuleType:
    """Import the SDK, choose its three-thread mode and register the one callback.

    Raises:
        DeviceError: the library cannot be loaded.
    """
    try:
        from Robotic_Arm import rm_robot_interface as sdk
    except (ImportError, OSError) as error:
        raise DeviceError(
            f"the RealMan SDK cannot be loaded ({error}): pip install Robotic_Arm==1.1.6"
        ) from None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its version
        first = sdk.RoboticArm(sdk.rm_thread_mode_e.RM_TRIPLE_MODE_E)
    callback = sdk.rm_realtime_arm_state_callback_ptr(_on_push)
    first.rm_realtime_arm_state_call_back(callback)
    _keep_for_ever(callback)
    loaded: ModuleType = sdk
    return loaded


_kept: list[object] = []


def _keep_for_ever(callback: object) -> None:
    """The library calls it until the process ends, so it must never be collected."""
    _kept.append(callback)


def _on_push(push: Any) -> None:
    sink = _sinks.get(push.arm_ip)
    if sink is not None:
        sink(time.monotonic(), time.time_ns(), push)
    if not _pass.is_set():
        _parked.set()
        _pass.wait(PARKED_LIMIT)


def open_arm(config: ArmConfig, sink: PushSink) -> Any:
    """Connect, direct the state push to this host and declare the tool.

    Returns:
        A connected ``RoboticArm``; give it back with `close_arm`.

    Raises:
        DeviceError: the controller does not answer as it should.
    """
    sdk = load_sdk()
    where = f"arm controller {config.ip}:{config.tcp_port}"
    with _connecting:
        arm = sdk.RoboticArm()
        try:
            handle = arm.rm_create_robot_arm(config.ip, config.tcp_port, SILENT)
        except ValueError:  # the SDK gives NULL when all its slots are taken
            raise DeviceError(f"{where}: the SDK has no free slot, restart this process") from None
        if handle.id == -1:
            _delete(arm)  # else the slot stays taken
            raise DeviceError(
                f"{where} does not answer: check power, cable and the ip in the cell file"
            )
        _sinks[config.ip.encode()] = sink
        try:
            _set_up(sdk, arm, config, where)
        except BaseException:
            close_arm(arm, config)
            raise
    return arm


def close_arm(arm: Any, config: ArmConfig) -> None:
    """Disconnect; the object is of no use afterwards."""
    _sinks.pop(config.ip.encode(), None)
    _delete(arm)


def _delete(arm: Any) -> None:
    """Delete a handle while no push is being received.

    The library's receiving thread looks a handle up for every push, without a lock: a deletion at
    that moment ends the process with a segmentation fault. So the thread is parked in our
    callback meanwhile, where no push is being looked up; without pushes there is nothing to park.
    """
    _parked.clear()
    _pass.clear()
    try:
        _parked.wait(PARKING_TIMEOUT)
        arm.rm_delete_robot_arm()
    finally:
        _pass.set()


def _set_up(sdk: ModuleType, arm: Any, config: ArmConfig, where: str) -> None:
    freedom = arm.rm_get_robot_info()[1].get("arm_dof", 0)
    if freedom != len(config.joint_names):
        raise DeviceError(
            f"{where} has {freedom} joints, the cell file names {len(config.joint_names)}: "
            "check the ip"
        )
    custom = sdk.rm_udp_custom_config_t(
        joint_speed=1, lift_state=0, expand_state=0, arm_current_status=1, hand_state=0,
        aloha_state=0, plus_base=0, plus_state=0,
    )  # fmt: skip
    push = sdk.rm_realtime_push_config_t(
        cycle=config.udp_cycle_ms // 5,
        enable=True,
        port=config.udp_port,
        force_coordinate=TOOL_FRAME,
        ip=local_address_towards(config.ip),
        custom_config=custom,
    )
    code = arm.rm_set_realtime_push(push)
    if code != 0:
        raise DeviceError(f"{where} refused the state push ({code}): check its firmware")
    middle = config.tool_length / 2
    tool = sdk.rm_frame_t(
        TOOL_NAME, (0, 0, config.tool_length, 0, 0, 0), config.payload_kg, 0, 0, middle
    )
    # Its payload keeps collision detection from seeing a false load. The frame may exist
    # already, so only the change to it decides.
    arm.rm_set_manual_tool_frame(tool)
    code = arm.rm_change_tool_frame(TOOL_NAME)
    if code != 0:
        raise DeviceError(
            f"{where} refused the tool {TOOL_NAME!r} ({code}): delete a tool, at most 10 fit"
        )


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
