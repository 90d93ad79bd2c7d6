"""Interpolated latents, decoded and played in the simulated cell."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from training.reporting.video import VIDEO_SIZE, write_video

APPROACH = 0.5
"""Speed at which the arms go to the first posture of a chunk [rad/s]."""


def play(chunks: NDArray[np.float64], cell: Cell, path: Path, *, task: str, seed: int) -> int:
    """Play chunks (N, H, D) one after the other and film them.

    Between two chunks the arms go straight to the next one's first posture. The commands pass the
    drivers' safety filter, which keeps them within the limits.

    Returns:
        Frames written.

    Raises:
        DeviceError: pictures cannot be drawn here.
    """
    from ate_sim.env import CellEnv  # loads the physics engine

    env = CellEnv(task, cell, seed=seed)
    try:
        action = env.reset(seed).state.astype(np.float64)
        frames = [env.overview(*VIDEO_SIZE)]
        for chunk in chunks.astype(np.float64):
            for row in [*approach(action, chunk[0], env.period), *chunk]:
                env.step(row)
                frames.append(env.overview(*VIDEO_SIZE))
            action = chunk[-1]
    finally:
        env.close()
    write_video(path, frames, cell.tick_rate)
    return len(frames)


def approach(
    begin: NDArray[np.float64], end: NDArray[np.float64], period: float
) -> NDArray[np.float64]:
    """Rows (T, D) on the straight line between two actions, without its ends; T may be 0."""
    ticks = max(1, int(np.ceil(np.abs(end - begin).max() / (APPROACH * period))))
    shares: NDArray[np.float64] = np.arange(1, ticks) / ticks
    return begin + (end - begin) * shares[:, None]
