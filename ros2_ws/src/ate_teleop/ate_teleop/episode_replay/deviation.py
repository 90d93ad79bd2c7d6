"""How far an arm was from the way that it went when the episode was recorded.

One constant lag is taken out; then each posture is compared with the nearest of the recorded way
within a hiccup's time, as in `ate_teleop.stroke_comparison`: late is not elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import tool_chain
from ate_core.devices import ArmConfig
from ate_teleop.stroke_comparison import LARGEST_HICCUP, JointPath

Array = NDArray[np.float64]

LARGEST_LAG = 0.4
"""Lag that the alignment may find [s]."""
LAG_STEP = 0.005
"""Its resolution [s]."""
GRID = 0.01
"""Spacing of the recorded way's postures [s]."""


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One arm's replay against its recording."""

    samples: int
    """Measured postures that were compared."""
    lag_s: float
    """How much later than recorded the arm was, taken out of the rest [s]; below 0: earlier."""
    joint_rms: float
    """Root mean square of all joints' distances [rad]."""
    joint_max: float
    """Largest distance of a joint [rad]."""
    tool_rms_mm: float
    """Root mean square of the tool's distance [mm]."""
    tool_max_mm: float
    """Largest distance of the tool [mm]."""

    def sentence(self) -> str:
        """For people."""
        return (
            f"joints RMS {self.joint_rms:.4f} rad, at most {self.joint_max:.4f} rad; tool RMS "
            f"{self.tool_rms_mm:.1f} mm, at most {self.tool_max_mm:.1f} mm; "
            f"{1e3 * self.lag_s:+.0f} ms in time"
        )


def deviation(arm: ArmConfig, recorded: JointPath, played: JointPath, speed: float) -> Deviation:
    """Compare what was measured in a replay with what was measured when it was recorded.

    Args:
        arm: whose joints.
        recorded: joints over the time of the episode.
        played: joints of the replay, over the time of the episode too; two or more.
        speed: seconds of the episode per second.
    """
    count = round(LARGEST_LAG / LAG_STEP)
    shifts = LAG_STEP * speed * np.array(sorted(range(-count, count + 1), key=abs))
    costs = [
        float(np.square(recorded.at(played.times - shift) - played.joints).sum())
        for shift in shifts
    ]
    shift = float(shifts[int(np.argmin(costs))])
    grid = np.arange(recorded.times[0], recorded.times[-1], GRID)
    postures = recorded.at(grid)
    chain = tool_chain(arm)
    ways = np.stack([chain.fk(q)[:3, 3] for q in postures])
    tools = np.stack([chain.fk(q)[:3, 3] for q in played.joints])
    near = _nearest(grid, ways, played.times - shift, tools)
    away = np.abs(played.joints - postures[near])
    distances = np.linalg.norm(tools - ways[near], axis=1)
    return Deviation(
        samples=len(played.times),
        lag_s=shift / speed,
        joint_rms=float(np.sqrt(np.square(away).mean())),
        joint_max=float(away.max()),
        tool_rms_mm=1e3 * float(np.sqrt(np.square(distances).mean())),
        tool_max_mm=1e3 * float(distances.max()),
    )


def _nearest(grid: Array, ways: Array, times: Array, tools: Array) -> NDArray[np.intp]:
    """For each of `tools` (N, 3) the index of the nearest of `ways` of about its time."""
    last = len(grid) - 1
    begin = np.searchsorted(grid, times - LARGEST_HICCUP).clip(0, last)
    end = np.searchsorted(grid, times + LARGEST_HICCUP, side="right").clip(1, last + 1)
    return np.array(
        [
            a + np.square(ways[a : max(b, a + 1)] - tool).sum(axis=1).argmin()
            for a, b, tool in zip(begin, end, tools, strict=True)
        ]
    )
