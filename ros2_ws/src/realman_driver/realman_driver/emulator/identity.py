"""Replies that describe the arm and never change: most of what the SDK asks on connecting."""

from typing import Any

import numpy as np

from realman_driver.emulator import wire
from realman_driver.emulator.model import DH_ROWS, ArmLimits

RPM_THOUSANDTHS = 1000.0 * 30.0 / np.pi
"""Controller limits on the wire per rad/s: 0.001 RPM."""


def identity_replies(limits: ArmLimits) -> dict[str, dict[str, Any]]:
    """Reply by command name.

    Args:
        limits: joint limits the controller reports.
    """
    plan = {"build_time": "2024/12/13 20:58:10", "version": "V1.7.0"}
    speed = [round(v) for v in (limits.speed * RPM_THOUSANDTHS).tolist()]
    acceleration = [round(v) for v in (limits.acceleration * RPM_THOUSANDTHS).tolist()]
    lower, upper = wire.joints_to_wire(limits.lower), wire.joints_to_wire(limits.upper)
    replies: dict[str, dict[str, Any]] = {
        "get_arm_software_info": {
            "command": "arm_software_info",
            "Product_version": "RM75-6F",
            "algorithm_info": {"version": "1.4.5"},
            "ctrl_info": plan,
            "dynamic_info": {"model_version": "2"},
            "plan_info": plan,
        },
        "get_DH_data": {"command": "get_DH_data"}
        | {f"joint_{i}": list(row) for i, row in enumerate(DH_ROWS, 1)},
        "get_current_work_frame": {
            "state": "current_work_frame",
            "frame_name": "World",
            "pose": [0] * 6,
        },
        "get_install_pose": {"state": "install_pose", "pose": [0, 0, 0]},
        "get_arm_power_state": {"state": "arm_power_state", "power_state": 1},
        "get_arm_run_mode": {"command": "get_arm_run_mode", "mode": 1},
        "get_controller_state": {
            "state": "controller_state",
            "voltage": 24000,
            "current": 2000,
            "temperature": 35000,
            "err_flag": 0,
        },
    }
    for name, key, values in (
        ("min_pos", "min_pos", lower),
        ("max_pos", "max_pos", upper),
        ("max_speed", "joint_speed", speed),
        ("max_acc", "joint_acc", acceleration),
    ):
        replies[f"get_joint_{name}"] = {"state": f"joint_{name}", key: values}
        command = f"get_joint_drive_{name}"
        replies[command] = {"command": command, key: values}
    return replies
