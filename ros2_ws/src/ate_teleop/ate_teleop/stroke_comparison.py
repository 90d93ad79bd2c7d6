"""How well the tool of an arm went the way it went before.

Both ways are measured joints with their stamps. They are aligned by one constant shift in time,
found in the joints. Then each point of the second way is compared with the nearest point of the
first one within a hiccup's time: late is not elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import tool_chain
from ate_core.devices import ArmConfig
from ate_core.geometry import rotation_log

Array = NDArray[np.float64]

LARGEST_SHIFT = 0.25
"""Shift in time that the alignment may find [s]; both ways went through the same chain."""
SHIFT_STEP = 0.002
"""Its resolution [s]; at 0.5 m/s a tool goes 1 mm meanwhile."""
LARGEST_HICCUP = 0.15
"""Time by which a tool may be early or late on its way [s]; longer stalls open the clutch."""
LARGEST_GAP = 0.2
"""Longest silence of an arm within which its joints are believed to go straight [s]."""
LEAST_STROKE = 0.01
"""Length of a way below which an arm stood still [m]."""


@dataclass(frozen=True, kw_only=True)
class JointPath:
    """Measured joints over time."""

    times: Array
    """(N,) increasing [s]."""
    joints: Array
    """(N, n) [rad]."""

    def at(self, times: Array) -> Array:
        """Joints (M, n) at some times [s], straight between the measured ones."""
        columns = (np.interp(times, self.times, column) for column in self.joints.T)
        return np.stack(list(columns), axis=1)

    def longest_gap(self, begin: float, end: float) -> float:
        """Longest time without a measurement between two times [s]."""
        inner = self.times[(self.times > begin) & (self.times < end)]
        return float(np.diff([begin, *inner, end]).max())


@dataclass(frozen=True, kw_only=True)
class StrokeDifference:
    """The tool's second way against the first."""

    seconds: float
    """Time that was compared [s]."""
    length: float
    """Length of the first way [m]."""
    shift: float
    """How much later the second one came [s]."""
    gap: float
    """Longest silence of the arm in the second one [s]."""
    behind_max: float
    """Largest distance at the same moment, which a hiccup of either run makes [m]."""
    position_max: float
    """Largest distance from the first way [m]."""
    position_rms: float
    """Its root mean square [m]."""
    angle_max: float
    """Largest angle [rad]."""
    angle_rms: float
    """Its root mean square [rad]."""

    @property
    def moved(self) -> bool:
        """Whether the arm moved in the first way at all."""
        return self.length >= LEAST_STROKE

    def sentence(self) -> str:
        """For people."""
        degrees = 180.0 / np.pi
        return (
            f"{1e3 * self.position_max:.1f} mm / {degrees * self.angle_max:.2f} deg at most "
            f"(RMS {1e3 * self.position_rms:.1f} mm / {degrees * self.angle_rms:.2f} deg) over "
            f"{self.length:.2f} m and {self.seconds:.1f} s; {1e3 * self.behind_max:.1f} mm at the "
            f"same moment, {1e3 * self.shift:+.0f} ms in time"
        )


def compare(arm: ArmConfig, first: JointPath, second: JointPath) -> StrokeDifference:
    """Compare two ways of the arm's tool over the whole of the first.

    Args:
        arm: whose tool.
        first: the recorded way; two measurements or more.
        second: the one of the replay, in the same time; it must cover the first.
    """
    begin, end = float(first.times[0]), float(first.times[-1])
    chain = tool_chain(arm)
    tools = np.stack([chain.fk(q) for q in first.joints])
    length = _length(tools[:, :3, 3])
    shift = best_shift(first, second) if length >= LEAST_STROKE else 0.0
    gap = second.longest_gap(begin + shift, end + shift)
    others = np.stack([chain.fk(q) for q in second.at(first.times + shift)])
    at_once = np.linalg.norm(others[:, :3, 3] - tools[:, :3, 3], axis=1)
    near = nearest(first.times, tools[:, :3, 3], others[:, :3, 3])
    distances = np.linalg.norm(others[:, :3, 3] - tools[near, :3, 3], axis=1)
    turns = np.einsum("nij,nik->njk", tools[near, :3, :3], others[:, :3, :3])
    angles = np.array([np.linalg.norm(rotation_log(turn)) for turn in turns])
    return StrokeDifference(
        seconds=end - begin,
        length=length,
        shift=shift,
        gap=gap,
        behind_max=float(at_once.max()),
        position_max=float(distances.max()),
        position_rms=_rms(distances),
        angle_max=float(angles.max()),
        angle_rms=_rms(angles),
    )


def nearest(times: Array, points: Array, others: Array) -> NDArray[np.intp]:
    """For each of `others` (N, 3) the index of the nearest of `points` (N, 3) of about its time.

    Args:
        times: (N,) of both, increasing [s].
        points: the first way [m].
        others: the second way at the same times [m].
    """
    first = np.searchsorted(times, times - LARGEST_HICCUP)
    last = np.searchsorted(times, times + LARGEST_HICCUP, side="right")
    return np.array(
        [
            a + np.square(points[a:b] - other).sum(axis=1).argmin()
            for a, b, other in zip(first, last, others, strict=True)
        ]
    )


def best_shift(first: JointPath, second: JointPath) -> float:
    """The shift of the second way [s] at which its joints are nearest to those of the first."""
    count = round(LARGEST_SHIFT / SHIFT_STEP)
    shifts = SHIFT_STEP * np.array(sorted(range(-count, count + 1), key=abs))
    costs = [float(np.square(second.at(first.times + s) - first.joints).sum()) for s in shifts]
    return float(shifts[int(np.argmin(costs))])


def _length(points: Array) -> float:
    """Length of a way (N, 3), without the noise of an arm at rest [m]."""
    last, length = points[0], 0.0
    for point in points:
        step = float(np.linalg.norm(point - last))
        if step >= 0.1 * LEAST_STROKE:
            last, length = point, length + step
    return length


def _rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))
