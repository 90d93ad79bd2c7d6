"""How the motion of a hand becomes the motion of a tool, and back.

Teleoperation goes forward, the scripted people of the simulated cell go back.

Both worlds are gravity-aligned, so translations are turned about the vertical only: a hand that
was tilted when the clutch closed does not tilt straight strokes. The orientation change is applied
separately, in the tool's own axes, through one fixed rotation per hand (the wrist frames of left
and right hand differ).

With p, R the position and rotation of hand (h) and tool (t), index 0 the instant of engagement, s
the scale, Y the rotation from headset to base and C the rotation from tool to wrist coordinates:

    p_t = p_t0 + s Y (p_h - p_h0)
    R_t = R_t0 C^T (R_h0^T R_h) C

At engagement p_h = p_h0 and R_h = R_h0: the target is the present tool pose, whatever the offset.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.devices import ArmConfig, OperatorConfig
from ate_core.errors import UsageError
from ate_core.geometry import quaternion_to_matrix, rotation_exp, transform

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class HandMapping:
    """The constants of the mapping for one operator and one arm."""

    scale: float
    """Tool metres per hand metre."""
    rotation_headset_to_base: Array
    """(3, 3) for directions of motion; about the vertical when the base stands upright."""
    rotation_tool_to_wrist: Array
    """(3, 3) the fixed rotation of this hand."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.scale <= 5.0:
            raise UsageError(
                f"operator scale is {self.scale}; need 0.05 to 5 tool metres per hand metre"
            )


def operator_mapping(operator: OperatorConfig, arm: ArmConfig) -> HandMapping:
    """The mapping that the cell describes for an operator and the arm they drive."""
    # Headset: x right, y forward. Operator: x forward, y left; turned by yaw in the world.
    rotation_headset_to_world = rotation_exp([0.0, 0.0, operator.yaw - 0.5 * np.pi])
    rotation_base_to_world = quaternion_to_matrix(arm.base_pose[3:])
    return HandMapping(
        scale=operator.scale,
        rotation_headset_to_base=rotation_base_to_world.T @ rotation_headset_to_world,
        rotation_tool_to_wrist=quaternion_to_matrix(operator.hand_rotation),
    )


def tool_pose_for_hand_motion(
    mapping: HandMapping, hand_start: Array, tool_start: Array, hand: Array
) -> Array:
    """Where the tool belongs when the hand has moved since engagement.

    Args:
        mapping: constants of operator and arm.
        hand_start: (4, 4) wrist to headset at engagement.
        tool_start: (4, 4) tool to base at engagement.
        hand: (4, 4) wrist to headset now.

    Returns:
        (4, 4) tool to base.
    """
    stroke = mapping.rotation_headset_to_base @ (hand[:3, 3] - hand_start[:3, 3])
    turn = hand_start[:3, :3].T @ hand[:3, :3]
    c = mapping.rotation_tool_to_wrist
    return transform(
        tool_start[:3, :3] @ (c.T @ turn @ c), tool_start[:3, 3] + mapping.scale * stroke
    )


def hand_pose_for_tool_motion(
    mapping: HandMapping, hand_start: Array, tool_start: Array, tool: Array
) -> Array:
    """Where the hand must be for the tool to be somewhere: the inverse of the above.

    Args:
        mapping: constants of operator and arm.
        hand_start: (4, 4) wrist to headset at engagement.
        tool_start: (4, 4) tool to base at engagement.
        tool: (4, 4) wanted tool to base.

    Returns:
        (4, 4) wrist to headset.
    """
    stroke = mapping.rotation_headset_to_base.T @ (tool[:3, 3] - tool_start[:3, 3])
    turn = tool_start[:3, :3].T @ tool[:3, :3]
    c = mapping.rotation_tool_to_wrist
    return transform(
        hand_start[:3, :3] @ (c @ turn @ c.T), hand_start[:3, 3] + stroke / mapping.scale
    )
