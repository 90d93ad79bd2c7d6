"""The tool follows the hand from where both were when the clutch closed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import UsageError
from ate_core.geometry import rotation_exp, rotation_log, transform
from ate_core.hand_mapping import HandMapping, tool_pose_for_hand_motion

Array = NDArray[np.float64]


def mean_pose(poses: Sequence[Array]) -> Array:
    """Mean of neighbouring poses (4, 4); rotations on the tangent at the newest one."""
    if not poses:
        raise UsageError("the mean of no poses was asked for; need at least one")
    base = poses[-1][:3, :3]
    arc = np.mean([rotation_log(base.T @ pose[:3, :3]) for pose in poses], axis=0)
    return transform(base @ rotation_exp(arc), np.mean([pose[:3, 3] for pose in poses], axis=0))


class Retargeter:
    """Holds the two reference poses of an engagement and maps the hand onto the tool."""

    def __init__(self, mapping: HandMapping) -> None:
        self._mapping = mapping
        self._references: tuple[Array, Array] | None = None

    def engage(self, hand_start: Array, tool_start: Array) -> None:
        """Tie the hand's pose to the tool's pose, both (4, 4)."""
        self._references = (hand_start.copy(), tool_start.copy())

    def tool_pose(self, hand: Array) -> Array:
        """Target (4, 4) tool to base for the hand's pose (4, 4)."""
        if self._references is None:
            raise UsageError("a tool pose was asked for before the first engagement: engage first")
        return tool_pose_for_hand_motion(self._mapping, *self._references, hand)
