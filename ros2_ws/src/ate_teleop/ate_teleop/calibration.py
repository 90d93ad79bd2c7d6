"""What two strokes of the hand tell: which way a person faces, and how they hold their hand.

The person holds the hand with the fingers forward and palm or thumb level, and pushes it forward,
then to one side. With f and s the directions of the strokes in the headset's frame, levelled, and
z its vertical, the heading h turns the headset's front onto the person's, h = 0 for a headset that
was centred looking forward:

    f = R_z(h) y,    s = +-R_z(h) x    (each stroke gives an h; the mean is taken)

The tool's z belongs along f. Its roll is the quarter turn nearest to the nominal one, so the
corrected rotation from tool to wrist is C' = R_wrist^T R_tool with that R_tool.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import UsageError
from ate_core.geometry import rotation_exp, rotation_log
from ate_core.hand_mapping import HandMapping
from ate_teleop.retarget import mean_pose

Array = NDArray[np.float64]

ENDS = 4
"""Poses averaged at either end of a stroke: 0.7 mm of noise then turn 0.15 m by 0.2 degrees."""


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """Which strokes are good enough."""

    shortest: float = 0.15
    """Least length of a stroke [m]."""
    curve: float = 0.1
    """Largest distance of the path from its chord, as a part of the length."""
    slope: float = math.radians(15.0)
    """Largest angle of a stroke against the horizontal [rad]."""
    turn: float = math.radians(20.0)
    """Largest turn of the wrist during a stroke [rad]."""
    square: float = math.radians(15.0)
    """Largest difference of the angle between the strokes from a right one [rad]."""
    tilt: float = math.radians(35.0)
    """Largest correction of the hand's axes: beyond, it is held otherwise, or the other [rad]."""
    patience: float = 30.0
    """Time without a stroke after which the calibration is given up [s]."""
    afterwards: float = 2.0
    """The arm follows nobody for so long after a refusal: who has not felt it yet may be pressing
    for the next stroke [s]."""
    longest: float = 10.0
    """Time that a stroke may take [s]."""


@dataclass(frozen=True, kw_only=True)
class HandCalibration:
    """What was fitted for one operator."""

    heading: float
    """From the headset's front (its y) to the person's, to the left about the vertical [rad]."""
    rotation_tool_to_wrist: tuple[tuple[float, ...], ...]
    """(3, 3) the fixed rotation of this person's hand."""
    correction: float
    """Angle by which that differs from the cell's [rad]."""
    residual: float
    """By how much either stroke's heading differs from the mean of the two [rad]."""
    curve: float
    """Largest distance of the paths from their chords [m]."""
    void: str = ""
    """Why the heading holds no longer; empty while it does."""

    def sentence(self) -> str:
        """What was fitted and how well, for people."""
        side = "left" if self.heading >= 0.0 else "right"
        text = (
            f"the person faces {abs(math.degrees(self.heading)):.1f} deg to the {side} of the "
            f"headset's front, hand axes corrected by {math.degrees(self.correction):.1f} deg; "
            f"strokes agree to {math.degrees(self.residual):.1f} deg and are straight to "
            f"{1e3 * self.curve:.0f} mm"
        )
        return f"void, {self.void}: calibrate again" if self.void else text


def calibrated(mapping: HandMapping, calibration: HandCalibration | None) -> HandMapping:
    """The mapping of a cell for one person; a void calibration keeps the axes of the hand."""
    if calibration is None:
        return mapping
    turn = rotation_exp([0.0, 0.0, 0.0 if calibration.void else -calibration.heading])
    return replace(
        mapping,
        rotation_headset_to_base=mapping.rotation_headset_to_base @ turn,
        rotation_tool_to_wrist=np.array(calibration.rotation_tool_to_wrist),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """One stroke that is good enough."""

    direction: Array
    """(3,) unit vector in the headset's frame, level."""
    pose: Array
    """(4, 4) mean pose of the wrist at its beginning."""
    curve: float
    """Largest distance of the path from its chord [m]."""


def judge_stroke(poses: Sequence[Array], config: CalibrationConfig) -> Stroke:
    """Take the poses (4, 4) of one stroke, wrist to headset.

    Raises:
        UsageError: what is wrong with it, the value and the bound.
    """
    if len(poses) < 2 * ENDS:
        raise UsageError(f"too short: {len(poses)} poses were seen; need {2 * ENDS} or more")
    first, last = mean_pose(poses[:ENDS]), mean_pose(poses[-ENDS:])
    way = last[:3, 3] - first[:3, 3]
    length = float(np.linalg.norm(way))
    if length < config.shortest:
        still = ": was it this operator's hand, and their headset?" if length < 0.03 else ""
        raise UsageError(
            f"too short: the hand went {length:.2f} m; need {config.shortest:.2f} m or more{still}"
        )
    slope = math.asin(way[2] / length)
    if abs(slope) > config.slope:
        where = "up" if slope > 0.0 else "down"
        raise UsageError(
            f"not level: the hand went {where} by {abs(math.degrees(slope)):.0f} deg; need at "
            f"most {math.degrees(config.slope):.0f}"
        )
    along = way / length
    offsets = np.array([pose[:3, 3] - first[:3, 3] for pose in poses])
    aside = np.linalg.norm(offsets - np.outer(offsets @ along, along), axis=1)
    curve = float(aside.max())
    if curve > config.curve * length:
        raise UsageError(
            f"curved: the hand left the straight line by {1e3 * curve:.0f} mm; need at most "
            f"{1e3 * config.curve * length:.0f} mm of {length:.2f} m"
        )
    turn = max(_angle(first[:3, :3], pose[:3, :3]) for pose in poses)
    if turn > config.turn:
        raise UsageError(
            f"wrist turned by {math.degrees(turn):.0f} deg on the way; need at most "
            f"{math.degrees(config.turn):.0f}"
        )
    level = np.array([along[0], along[1], 0.0])
    return Stroke(direction=level / np.linalg.norm(level), pose=first, curve=curve)


def fit(
    forward: Stroke, aside: Stroke, nominal: Array, hand: str, config: CalibrationConfig
) -> HandCalibration:
    """Fit heading and hand axes.

    Args:
        forward: stroke to the front.
        aside: stroke to either side.
        nominal: (3, 3) rotation from tool to wrist that the cell describes.
        hand: left or right, for people.
        config: bounds.

    Raises:
        UsageError: the strokes do not fit together, or the hand is held otherwise.
    """
    ahead = math.atan2(-forward.direction[0], forward.direction[1])
    x, y = aside.direction[:2] if _is_right(forward, aside) else -aside.direction[:2]
    error = math.remainder(math.atan2(y, x) - ahead, 2.0 * math.pi)
    if abs(error) > config.square:
        apart = math.degrees(math.acos(float(forward.direction @ aside.direction)))
        least = 90.0 - math.degrees(config.square)
        raise UsageError(
            f"not square: the strokes are {apart:.0f} deg apart; need {least:.0f} to "
            f"{180.0 - least:.0f}"
        )
    heading = math.remainder(ahead + 0.5 * error, 2.0 * math.pi)
    wrist = forward.pose[:3, :3]
    tool = _nearest_posture(wrist @ nominal, rotation_exp([0.0, 0.0, heading]))
    correction = _angle(wrist @ nominal, tool)
    if correction > config.tilt:
        raise UsageError(
            f"hand turned by {math.degrees(correction):.0f} deg from fingers forward, palm or "
            f"thumb level; need at most {math.degrees(config.tilt):.0f}: is it the {hand} hand?"
        )
    return HandCalibration(
        heading=heading,
        rotation_tool_to_wrist=tuple(tuple(row) for row in (wrist.T @ tool).tolist()),
        correction=correction,
        residual=0.5 * abs(error),
        curve=max(forward.curve, aside.curve),
    )


def _is_right(forward: Stroke, aside: Stroke) -> bool:
    return bool(np.cross(forward.direction, aside.direction)[2] < 0.0)


def _nearest_posture(tool: Array, person: Array) -> Array:
    """The tool (3, 3) with z forward and x along an axis of the person, nearest to `tool`."""
    forward = person[:, 1]
    options = [
        np.column_stack([x, np.cross(forward, x), forward])
        for axis in (person[:, 0], person[:, 2])
        for x in (axis, -axis)
    ]
    return min(options, key=lambda option: _angle(tool, option))


def _angle(a: Array, b: Array) -> float:
    """Angle between two rotations (3, 3) [rad]."""
    return float(np.linalg.norm(rotation_log(a.T @ b)))
