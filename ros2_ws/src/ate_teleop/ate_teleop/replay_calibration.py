"""Recorded hands as those of a person who needs no calibration.

An operator who follows a replay uses the mapping of the cell, so what a calibration did to the
motion when it was recorded is done to the hands instead. With the heading h, the calibrated and
nominal rotations C and C0 from tool to wrist, and `ate_core.hand_mapping`, a wrist T becomes

    T' = Rz(-h) T (C C0^T)      in the headset's frame, and the head Rz(-h) T.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import EpisodeError
from ate_core.geometry import matrix_to_quaternion, quaternion_to_matrix, rotation_exp, transform
from ate_core.json_text import UNREADABLE
from ate_teleop.calibration import HandCalibration
from operator_devices.hand_pose import TRANSFORM_ARKIT_TO_HEADSET, TRANSFORM_HEADSET_TO_ARKIT
from operator_devices.hands_file import HandsRecording

Array = NDArray[np.float64]


def calibration_entry(calibration: HandCalibration | None) -> dict[str, Any]:
    """What the header of a recording tells of the calibration that holds when it begins."""
    if calibration is None:
        return {}
    rotation = matrix_to_quaternion(np.array(calibration.rotation_tool_to_wrist))
    return {
        "heading": 0.0 if calibration.void else calibration.heading,
        "hand_rotation": rotation.tolist(),
    }


def as_if_uncalibrated(recording: HandsRecording, cell: Cell) -> HandsRecording:
    """The recording with hands that move the arm alike under the cell's own mapping.

    Raises:
        EpisodeError: what its header tells of a calibration is none.
    """
    entry = recording.header.calibration
    if not entry:
        return recording
    heading, rotation = _read(entry)
    operator = cell.operators[recording.header.side]
    turn = transform(rotation_exp([0.0, 0.0, -heading]), np.zeros(3))
    turn = TRANSFORM_HEADSET_TO_ARKIT @ turn @ TRANSFORM_ARKIT_TO_HEADSET
    nominal = quaternion_to_matrix(operator.hand_rotation)
    correction = transform(rotation @ nominal.T, np.zeros(3))

    def moved(name: str, matrix: Array | None) -> Array | None:
        if matrix is None:
            return None
        return turn @ matrix @ correction if name == operator.hand else turn @ matrix

    headset = tuple(
        replace(one, matrices={name: moved(name, m) for name, m in one.matrices.items()})
        for one in recording.headset
    )
    return replace(recording, headset=headset)


def _read(entry: Mapping[str, Any]) -> tuple[float, Array]:
    """Heading [rad] and rotation (3, 3) from tool to wrist."""
    try:
        heading = float(entry["heading"])
        quaternion = np.array([float(one) for one in entry["hand_rotation"]])
    except UNREADABLE:
        raise EpisodeError(f"the recording's calibration is {dict(entry)}; {_NEED}") from None
    sound = quaternion.shape == (4,) and abs(float(np.linalg.norm(quaternion)) - 1.0) < 1e-3
    if not sound or not abs(heading) <= math.pi:
        raise EpisodeError(f"the recording's calibration is {dict(entry)}; {_NEED}")
    return heading, quaternion_to_matrix(quaternion)


_NEED = "need heading [rad], -pi to pi, and hand_rotation, a unit quaternion x, y, z, w"
