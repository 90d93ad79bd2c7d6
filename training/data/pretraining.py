"""Motion of other bodies for stage 1 of the action VAE.

Each source - a set of recordings, or the generated motion of one embodiment - is normalised with
its own statistics: joint 3 of one robot is not joint 3 of another, and only the shape of motion
over time is shared. Nothing pairs the sources; q(z) is used through its moments alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import TrainingError
from ate_policy.transforms import Normalise, VectorStatistics
from training.data.dataset import chunk_windows
from training.data.lerobot_tables import read_motion
from training.data.statistics import vector_statistics


@dataclass(frozen=True)
class MotionSource:
    """Episodes of one body."""

    name: str
    """Which one."""
    motions: list[np.ndarray]
    """(T, D) actions per episode, in that body's own units."""


@dataclass(frozen=True)
class PretrainingChunks:
    """Normalised chunks of all sources."""

    chunks: Tensor
    """(N, H, D)."""
    statistics: dict[str, VectorStatistics]
    """Of each source."""
    counts: dict[str, int]
    """Chunks of each source."""


def load_sources(
    cell: Cell, *, recordings: Path | None, motions: int, seed: int
) -> list[MotionSource]:
    """Read the recordings and generate motion, as far as asked for."""
    sources = []
    if recordings is not None:
        episodes = read_motion(recordings, cell.layout.action, cell.tick_rate)
        sources.append(MotionSource(f"recordings {recordings.name}", episodes))
    if motions:
        sources += _generate(motions, seed)
    return sources


def make_chunks(sources: list[MotionSource], horizon: int) -> PretrainingChunks:
    """Normalise each source on its own and cut it into chunks, padded as the policy's are."""
    parts, statistics, counts = [], {}, {}
    for source in sources:
        episodes = [motion for motion in source.motions if len(motion) >= horizon]
        if not episodes:
            raise TrainingError(
                f"{source.name} has no episode of {horizon} ticks or more: shorten the horizon "
                "or leave that source out"
            )
        rows = np.concatenate(episodes).astype(np.float32)
        statistics[source.name] = vector_statistics(rows, source.name)
        values = Normalise(statistics[source.name]).apply(torch.from_numpy(rows))
        offsets = np.cumsum([0, *(len(e) for e in episodes[:-1])])
        windows = np.concatenate(
            [chunk_windows(len(e), horizon) + o for e, o in zip(episodes, offsets, strict=True)]
        )
        parts.append(values[torch.from_numpy(windows)])
        counts[source.name] = len(windows)
    return PretrainingChunks(torch.cat(parts), statistics, counts)


def _generate(motions: int, seed: int) -> list[MotionSource]:
    """Scripted motion of bodies other than the cell's arms, one source per body."""
    from ate_sim.embodiments import EMBODIMENTS, generate_motion  # loads the physics engine

    bodies = tuple(EMBODIMENTS)[:motions]
    sources = []
    for index, body in enumerate(bodies):
        share = motions // len(bodies) + (index < motions % len(bodies))
        episodes = generate_motion(share, seed + index, embodiments=(body,))
        sources.append(MotionSource(f"generated {body}", episodes))
    return sources
