"""A slow way to a first action that the arms could not reach in one tick."""

import math

import numpy as np
from numpy.typing import NDArray

from ate_policy.chunk_check import ChunkLimits

SPEED = 0.5
"""Speed of the fastest joint on the way [rad/s]."""


def approach(
    start: NDArray[np.floating],
    target: NDArray[np.floating],
    limits: ChunkLimits,
    step: float,
    least: int,
) -> NDArray[np.float32]:
    """Actions from a posture to another one, straight in the joints; grippers stay as they are.

    Args:
        start: Where the arms are (D,), measured.
        target: Where they shall be (D,).
        limits: Tell joints from grippers; the way must still be checked against them.
        step: Largest change of a joint per action [rad].
        least: Actions at least; the last one is repeated.

    Returns:
        (n, D), of which the last row is at the target.
    """
    joints = np.isfinite(limits.step)
    way = np.where(joints, np.asarray(target, np.float64) - start, 0.0)
    count = max(1, math.ceil(float(np.abs(way).max()) / min(step, float(limits.step.min()))))
    share = np.minimum(np.arange(1, max(count, least) + 1) / count, 1.0)
    begin = np.where(joints, start, np.clip(start, 0.0, 1.0))
    rows: NDArray[np.float32] = (begin + share[:, None] * way).astype(np.float32)
    return rows
