"""Commands of the JSON protocol and their replies. No sockets; time is an argument.

A reply is found by the SDK only through the text in ``command`` or ``state``. Commands that are
not in the table get no answer, as on firmware that lacks them (the SDK then reports -2).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arm_driver.plant import Measurement
from realman_driver.emulator import wire
from realman_driver.emulator.controller import Controller
from realman_driver.emulator.identity import identity_replies
from realman_driver.emulator.model import JOINTS

Array = NDArray[np.float64]
Message = dict[str, Any]
Handler = Callable[[Message, float], Message | None]
log = logging.getLogger(__name__)

MOST_TOOLS = 10
"""Tool frames that fit, by the JSON manual."""
LONGEST_TOOL_NAME = 10
"""Characters of a tool's name, by the JSON manual."""


@dataclass(kw_only=True)
class PushSetting:
    """Where the state push goes."""

    enable: bool = True
    """Whether packets leave."""
    cycle: int = 1
    """Period in units of 5 ms."""
    port: int = 8089
    """UDP port of the receiver."""
    ip: str = "127.0.0.1"
    """Address of the receiver."""
    force_coordinate: int = 0
    """Frame of the zeroed force: 0 sensor, 1 work, 2 tool."""


class CommandTable:
    """Answers the commands of one client or several; the arm behind them is one."""

    def __init__(self, controller: Controller, push: PushSetting) -> None:
        """Build the table.

        Args:
            controller: motion and errors of the arm.
            push: state push setting, changed by commands.
        """
        self.push = push
        self.malformed = 0
        """Commands whose arguments made no sense; they get no answer."""
        self.measured: Measurement | None = None
        self.wrench_offset: Array = np.zeros(6)
        self._controller = controller
        self._collision_stage = 0
        self.tool: Message = {
            "tool_name": "Arm_Tip",
            "pose": [0] * 6,
            "payload": 0,
            "position": [0, 0, 0],
        }
        """The active tool, as it is told."""
        self._tools: dict[str, Message] = {"Arm_Tip": self.tool}
        self.tools_locked = False
        """Refuses changes to stored tools."""
        self.identity = identity_replies(controller.limits)
        """What the controller says of itself, by command."""
        self._handlers: dict[str, Handler] = {name: self._constant(name) for name in self.identity}
        self._handlers |= self._reading() | self._writing() | self._moving()
        self.written: list[str] = []
        """Commands that change or move something, by name, each once, in the order they came."""

    def _constant(self, name: str) -> Handler:
        return lambda message, now: self.identity[name]

    def answer(self, message: Message, now: float) -> Message | None:
        """Carry out one command; None when it has no reply or is unknown."""
        name = message.get("command")
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if handler is None or not isinstance(name, str):
            log.debug("no answer to %r", name)
            return None
        if name not in self.written and not name.startswith("get_"):
            self.written.append(name)
        try:
            return handler(message, now)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            log.debug("command %s is malformed: %r", name, error)
            self.malformed += 1
            return None

    # --- the table -----------------------------------------------------------------------

    def _reading(self) -> dict[str, Handler]:
        return {
            "get_realtime_push": self._get_push,
            "get_current_tool_frame": lambda m, now: {"state": "current_tool_frame", **self.tool},
            "get_arm_current_trajectory": self._trajectory,
            "get_current_arm_state": self._arm_state,
            "get_joint_degree": lambda m, now: {"state": "joint_degree", "joint": self._joints()},
            "get_arm_all_state": self._all_state,
            "get_joint_err_flag": lambda m, now: {
                "state": "joint_err_flag",
                "err_flag": self._controller.joint_errors,
                "brake_state": [0] * JOINTS,
            },
            "get_joint_en_state": lambda m, now: {
                "state": "joint_en_state",
                "en_state": self._enabled(),
            },
            "get_force_data": self._force_data,
            "get_collision_stage": lambda m, now: {
                "state": "get_collision_stage",
                "collision_stage": self._collision_stage,
            },
        }

    def _writing(self) -> dict[str, Handler]:
        return {
            "set_arm_power": _echo(arm_power=True),
            "set_arm_run_mode": _echo(mode=True),
            "set_joint_en_state": self._enable_joint,
            "set_joint_clear_err": self._clear_joint,
            "clear_system_err": self._clear_system,
            "clear_force_data": self._clear_force,
            "set_collision_stage": self._set_collision,
            "set_realtime_push": self._set_push,
            "set_manual_tool_frame": self._define_tool,
            "update_tool_frame": self._update_tool,
            "set_change_tool_frame": self._change_tool,
        }

    def _moving(self) -> dict[str, Handler]:
        return {
            "movej": self._movej,
            "movej_canfd": self._canfd,
            "set_arm_stop": self._stop,
            "set_arm_slow_stop": self._slow_stop,
            "set_delete_current_trajectory": _echo(delete_current_trajectory=True),
            "set_arm_delete_trajectory": _echo(arm_delete_trajectory=True),
        }

    # --- reading -------------------------------------------------------------------------

    def _joints(self) -> list[int]:
        return wire.joints_to_wire(self.measured.q if self.measured else np.zeros(JOINTS))

    def _enabled(self) -> list[int]:
        return [int(flag) for flag in self._controller.joint_enabled]

    def _error_fields(self) -> Message:
        errors = self._controller.errors
        first = errors[0] if errors else 0
        return {"arm_err": first, "sys_err": first, "err": errors or [0]}

    def _arm_state(self, message: Message, now: float) -> Message:
        q = self.measured.q if self.measured else np.zeros(JOINTS)
        position, _, euler = wire.pose_to_wire(q)
        state = {"joint": self._joints(), "pose": position + euler} | self._error_fields()
        return {"state": "current_arm_state", "arm_state": state}

    def _all_state(self, message: Message, now: float) -> Message:
        torque = self.measured.torque if self.measured else np.zeros(JOINTS)
        errors = self._error_fields()
        state = {
            "temperature": [32000] * JOINTS,
            "current": wire.current_to_wire(torque),
            "voltage": [24000] * JOINTS,
            "err_flag": self._controller.joint_errors,
            "en_flag": self._enabled(),
            "sys_err": errors["sys_err"],
            "err": errors["err"],
        }
        return {"state": "arm_all_state", "all_state": state}

    def _force_data(self, message: Message, now: float) -> Message:
        raw = self.measured.wrench if self.measured else np.zeros(6)
        zeroed = wire.wrench_to_wire(raw - self.wrench_offset)
        return {
            "command": "get_force_data",
            "force_data": wire.wrench_to_wire(raw),
            "zero_force_data": zeroed,
            "work_zero_force_data": zeroed,
            "tool_zero_force_data": zeroed,
        }

    def _trajectory(self, message: Message, now: float) -> Message:
        kind = "movej" if self._controller.status == "move_J" else "none"
        return {"state": "arm_current_trajectory", "type": kind, "data": self._joints()}

    def _get_push(self, message: Message, now: float) -> Message:
        push = self.push
        return {
            "command": "get_realtime_push",
            "cycle": push.cycle,
            "enable": push.enable,
            "port": push.port,
            "force_coordinate": push.force_coordinate,
            "ip": push.ip,
            "custom": {
                "joint_speed": True,
                "arm_current_status": True,
                "lift_state": False,
                "expand_state": False,
                "aloha_state": False,
                "hand": False,
            },
        }

    # --- writing -------------------------------------------------------------------------

    def _set_push(self, message: Message, now: float) -> Message:
        push = self.push
        cycle = int(message.get("cycle", push.cycle))
        if cycle < 1:
            return {"command": "set_realtime_push", "state": False}
        port = int(message.get("port", push.port))
        frame = int(message.get("force_coordinate", push.force_coordinate))
        push.enable = bool(message.get("enable", push.enable))
        push.cycle, push.port, push.force_coordinate = cycle, port, frame
        push.ip = str(message.get("ip", push.ip))
        return {"command": "set_realtime_push", "state": True}

    def _enable_joint(self, message: Message, now: float) -> Message:
        number, flag = message["joint_en_state"]
        self._controller.enable_joint(_joint(number), bool(flag), now)
        return {"command": "set_joint_en_state", "joint_en_state": True}

    def _clear_joint(self, message: Message, now: float) -> Message:
        self._controller.clear_joint_error(_joint(message["joint_clear_err"]))
        return {"command": "set_joint_clear_err", "joint_clear_err": True}

    def _clear_system(self, message: Message, now: float) -> Message:
        self._controller.clear_errors()
        return {"command": "clear_system_err", "clear_state": True}

    def _clear_force(self, message: Message, now: float) -> Message:
        if self.measured:
            self.wrench_offset = self.measured.wrench.copy()
        return {"command": "clear_force_data", "clear_state": True}

    def _set_collision(self, message: Message, now: float) -> Message:
        self._collision_stage = int(message["collision_stage"])
        return {"command": "set_collision_stage", "collision_state": True}

    def _define_tool(self, message: Message, now: float) -> Message:
        tool = _tool(message)
        accepted = tool["tool_name"] not in self._tools and len(self._tools) < MOST_TOOLS
        if accepted:
            self._tools[tool["tool_name"]] = tool
        return {"command": "set_manual_tool_frame", "manual_tool_frame": accepted}

    def _update_tool(self, message: Message, now: float) -> Message:
        tool = _tool(message)
        known = tool["tool_name"] in self._tools
        if known and not self.tools_locked:
            self.store_tool(tool)
        return {"command": "update_tool_frame", "update_state": known and not self.tools_locked}

    def store_tool(self, tool: Message) -> None:
        """Store a tool whatever was stored under its name."""
        self._tools[tool["tool_name"]] = tool
        if self.tool["tool_name"] == tool["tool_name"]:
            self.tool = tool

    def _change_tool(self, message: Message, now: float) -> Message:
        known = message["tool_name"] in self._tools
        if known:
            self.tool = self._tools[message["tool_name"]]
        return {"command": "set_change_tool_frame", "change_tool_frame": known}

    # --- moving --------------------------------------------------------------------------

    def _movej(self, message: Message, now: float) -> Message:
        goal = _joints_of(message)
        accepted = self._controller.move(goal, float(message["v"]), now)
        return {"command": "movej", "receive_state": accepted}

    def _canfd(self, message: Message, now: float) -> None:
        self._controller.stream(_joints_of(message), now)

    def _stop(self, message: Message, now: float) -> Message:
        self._controller.stop(now, "set_arm_stop", slow=False)
        return {"command": "set_arm_stop", "arm_stop": True}

    def _slow_stop(self, message: Message, now: float) -> Message:
        self._controller.stop(now, "set_arm_slow_stop", slow=True)
        return {"command": "set_arm_slow_stop", "arm_slow_stop": True}


def _echo(**fields: object) -> Handler:
    """Reply that carries the command's own name."""
    return lambda message, now: {"command": message["command"], **fields}


def _joints_of(message: Message) -> Array:
    """Joint angles (7,) [rad] of a motion command."""
    q = wire.joints_from_wire(message["joint"])
    if q.shape != (JOINTS,):
        raise ValueError(f"joint has the shape {q.shape}")
    return q


def _joint(number: object) -> int:
    """Index 0..6 of a joint number 1..7."""
    if not isinstance(number, int) or not 1 <= number <= JOINTS:
        raise ValueError(f"joint {number!r}")
    return number - 1


def _tool(message: Message) -> Message:
    """A tool as it is stored: name, pose, payload and centre of mass, in whole wire units."""
    name = str(message["tool_name"])
    pose = [int(v) for v in message["tool_pose"]]
    position = [int(v) for v in message["position"]]
    if len(name) > LONGEST_TOOL_NAME or len(pose) != 6 or len(position) != 3:
        raise ValueError("tool")
    return {
        "tool_name": name,
        "pose": pose,
        "payload": int(message["payload"]),
        "position": position,
    }
