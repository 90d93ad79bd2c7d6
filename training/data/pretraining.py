"""Motion of other bodies for stage 1 of the action VAE.

Each source - a set of recordings, or the generated motion of one embodiment - is normalised with
its own statistics: joint 3 of one robot is not joint 3 of another, and only the shape of motion
over time is shared. Nothing pairs the sources; q(z) is used through its moments alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import TrainingError
from ate_core.layout import VectorLayout
from ate_policy.transforms import Normalise, VectorStatistics
from training.data import lerobot_tables, qpos_folder
from training.data.dataset import chunk_windows
from training.data.statistics import STD_FLOOR, unit_statistics, vector_statistics

logger = logging.getLogger(__name__)

CONSTANT = 1e-6
"""Standard deviation at and below which a dimension counts as constant [rad, ratio]."""


@dataclass(frozen=True)
class MotionSource:
    """Episodes of one body."""

    name: str
    """Which one."""
    motions: list[np.ndarray]
    """(T, D) actions per episode, in that body's own units."""
    episodes: Sequence[str] = ()
    """What to call each episode in messages; numbers without."""
    generated: bool = False
    """Whether it was made here; a joint that its body lacks then stays 0 by design."""


@dataclass(frozen=True)
class PretrainingChunks:
    """Chunks of all sources, normalised unless asked otherwise."""

    chunks: Tensor
    """(N, H, D)."""
    statistics: dict[str, VectorStatistics]
    """Of each source."""
    counts: dict[str, int]
    """Chunks of each source."""


def load_sources(
    cell: Cell, *, recordings: Sequence[Path], motions: int, seed: int
) -> list[MotionSource]:
    """Read the recordings and generate motion, as far as asked for."""
    sources = [read_recordings(folder, cell) for folder in recordings]
    if motions:
        sources += _generate(motions, seed)
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise TrainingError(f"two sources are called {name!r}: rename one of the folders")
    return sources


def read_recordings(folder: Path, cell: Cell) -> MotionSource:
    """Read one folder of motion, whichever of the known kinds it is."""
    if not folder.is_dir():
        raise TrainingError(f"{folder} is no folder: give one with recorded motion")
    name, layout = f"recordings {folder.resolve().name}", cell.layout.action
    if (folder / lerobot_tables.INFO).is_file():
        return MotionSource(name, *lerobot_tables.read_motion(folder, layout, cell.tick_rate))
    if qpos_folder.find_files(folder):
        return MotionSource(name, *qpos_folder.read_folder(folder, cell))
    raise TrainingError(
        f"{folder} holds neither {lerobot_tables.INFO} (LeRobot) nor *.hdf5 or train/*.hdf5 "
        "(episodes, `qpos` files): give a folder of recorded motion"
    )


def make_chunks(
    sources: list[MotionSource],
    layout: VectorLayout,
    horizon: int,
    *,
    repeat_tail: bool = True,
    normalise: bool = True,
) -> PretrainingChunks:
    """Normalise each source on its own and cut it into chunks.

    Args:
        sources: Bodies.
        layout: Names of the dimensions, for messages.
        horizon: Actions per chunk.
        repeat_tail: Chunks reach behind an episode's end, as the policy's; or they end with it.
        normalise: Bring each dimension to mean 0 and std 1; or keep its units.
    """
    parts, statistics, counts = [], {}, {}
    for source in sources:
        _refuse_short(source, horizon)
        rows = np.concatenate(source.motions).astype(np.float32)
        if not source.generated:
            report_constant(rows, layout, source.name)
        measured = vector_statistics(rows, source.name)
        statistics[source.name] = measured if normalise else unit_statistics(measured)
        values = Normalise(statistics[source.name]).apply(torch.from_numpy(rows))
        windows, first = [], 0
        for motion in source.motions:
            count = len(motion) if repeat_tail else len(motion) - horizon + 1
            windows.append(chunk_windows(len(motion), horizon)[:count] + first)
            first += len(motion)
        parts.append(values[torch.from_numpy(np.concatenate(windows))])
        counts[source.name] = len(parts[-1])
    return PretrainingChunks(torch.cat(parts), statistics, counts)


def report_constant(rows: np.ndarray, layout: VectorLayout, name: str) -> None:
    """Name dimensions that never change; refuse rows (N, D) in which none does."""
    constant = rows.astype(np.float64).std(axis=0) <= CONSTANT
    if constant.all():
        raise TrainingError(f"{name}: nothing moves, all {len(constant)} dimensions are constant")
    if constant.any():
        names = ", ".join(np.array(layout.names)[constant])
        logger.warning(
            "%s: %s never changes; its std is taken as %g, so it carries no signal",
            name,
            names,
            STD_FLOOR,
        )


def _refuse_short(source: MotionSource, horizon: int) -> None:
    names = source.episodes or [f"episode {i}" for i in range(len(source.motions))]
    lengths = [len(motion) for motion in source.motions]
    short = [
        f"{name} ({length})"
        for name, length in zip(names, lengths, strict=True)
        if length < horizon
    ]
    if short:
        more = f" and {len(short) - 3} more" if len(short) > 3 else ""
        raise TrainingError(
            f"{source.name}: {', '.join(short[:3])}{more} of {len(lengths)} episodes are shorter "
            f"than a chunk of {horizon} ticks: shorten --horizon to {min(lengths)} or remove them"
        )


def _generate(motions: int, seed: int) -> list[MotionSource]:
    """Scripted motion of bodies other than the cell's arms, one source per body."""
    from ate_sim.embodiments import EMBODIMENTS, generate_motion  # loads the physics engine

    bodies = tuple(EMBODIMENTS)[:motions]
    sources = []
    for index, body in enumerate(bodies):
        share = motions // len(bodies) + (index < motions % len(bodies))
        episodes = generate_motion(share, seed + index, embodiments=(body,))
        sources.append(MotionSource(f"generated {body}", episodes, generated=True))
    return sources
