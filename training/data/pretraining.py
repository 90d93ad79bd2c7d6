"""Motion of other bodies for stage 1 of the action VAE.

Each source - a set of recordings, or the generated motion of one embodiment - is normalised with
its own statistics: joint 3 of one robot is not joint 3 of another, and only the shape of motion
over time is shared. Nothing pairs the sources; q(z) is used through its moments alone.

Relative chunks are differences from the state measured at their tick; where none was recorded,
from their own first action.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ate_core.contract import Cell
from ate_core.errors import TrainingError
from ate_core.layout import VectorLayout
from ate_policy.transforms import ChunkTransform, Statistics
from training.data import lerobot_tables, qpos_folder
from training.data.chunk_rows import ChunkRows, SourceChunks, Windows
from training.data.dataset import ActionSpace
from training.data.statistics import (
    STD_FLOOR,
    relative_statistics,
    unit_statistics,
    vector_statistics,
)

logger = logging.getLogger(__name__)


class MotionReader(Protocol):
    """What the module of one kind of recordings offers."""

    SIGN: str
    """What such a folder holds, in words."""

    def holds(self, folder: Path) -> bool:
        """Whether a folder is of this kind."""

    def has_states(self, folder: Path) -> bool:
        """Whether the measured state was recorded."""

    def read_actions(self, folder: Path, cell: Cell) -> tuple[list[np.ndarray], list[str]]:
        """One (T, D) float32 per episode, in the cell's layout and ticks, and their names."""

    def read_states(self, folder: Path, cell: Cell) -> list[np.ndarray]:
        """The measured states, (T, D) per episode, likewise."""


READERS: tuple[MotionReader, ...] = (lerobot_tables, qpos_folder)
"""Kinds of recordings, in the order in which they are recognised."""

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
    states: list[np.ndarray] | None = None
    """(T, D) measured at the tick of each action, in the same units; None: not recorded."""
    recordings: Sequence[int] = ()
    """Number of the recording that each episode is of, from 0 on; each of its own without."""


@dataclass(frozen=True)
class PretrainingChunks:
    """Chunks of all sources, normalised unless asked otherwise."""

    chunks: ChunkRows
    """(N, H, D)."""
    statistics: dict[str, Statistics]
    """Of each source."""
    counts: dict[str, int]
    """Chunks of each source."""


def load_sources(
    cell: Cell, *, recordings: Sequence[Path], motions: int, seed: int, measured: bool = False
) -> list[MotionSource]:
    """Read the recordings, if asked with the measured states, and generate motion."""
    sources = [read_recordings(folder, cell, measured=measured) for folder in recordings]
    if motions:
        sources += _generate(cell, motions, seed)
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise TrainingError(f"two sources are called {name!r}: rename one of the folders")
    return sources


def read_recordings(folder: Path, cell: Cell, *, measured: bool = False) -> MotionSource:
    """Read one folder of motion, whichever of the known kinds it is.

    Args:
        folder: With recordings.
        cell: Whose action layout they are brought into.
        measured: Read the states too, where there are any.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder} is no folder: give one with recorded motion")
    name = f"recordings {folder.resolve().name}"
    reader = next((one for one in READERS if one.holds(folder)), None)
    if reader is None:
        signs = " nor ".join(one.SIGN for one in READERS)
        raise TrainingError(f"{folder} holds neither {signs}: give a folder of recorded motion")
    motions, episodes = reader.read_actions(folder, cell)
    states = reader.read_states(folder, cell) if measured and reader.has_states(folder) else None
    return MotionSource(name, motions, episodes, states=states)


def make_chunks(
    sources: list[MotionSource],
    layout: VectorLayout,
    horizon: int,
    *,
    space: ActionSpace = "absolute",
    repeat_tail: bool = True,
    normalise: bool = True,
) -> PretrainingChunks:
    """Normalise each source on its own and cut it into chunks.

    Args:
        sources: Bodies.
        layout: Names of the dimensions, for messages.
        horizon: Actions per chunk.
        space: Of the chunks.
        repeat_tail: Chunks reach behind an episode's end, as the policy's; or they end with it.
        normalise: Bring each dimension to mean 0 and std 1; or keep its units.
    """
    made: list[SourceChunks] = []
    statistics: dict[str, Statistics] = {}
    counts: dict[str, int] = {}
    for source in sources:
        _refuse_short(source, horizon)
        rows = np.concatenate(source.motions).astype(np.float32)
        if not source.generated:
            report_constant(rows, layout, source.name)
        windows = _windows(source, horizon, repeat_tail)
        actions = torch.from_numpy(rows)
        states = torch.from_numpy(_start_states(source, rows))
        measured = vector_statistics(rows, source.name)
        found = Statistics(state=measured, action=measured)
        if space == "relative":
            columns = layout.columns("rad")
            found = relative_statistics(
                found,
                columns,
                actions,
                windows,
                states[windows.first],
                source.name,
            )
        if not normalise:
            found = replace(found, action=unit_statistics(found.action))
        transform = ChunkTransform(found)
        made.append(
            SourceChunks(rows=actions, states=states, windows=windows, transform=transform)
        )
        statistics[source.name], counts[source.name] = found, len(windows)
    return PretrainingChunks(ChunkRows(made), statistics, counts)


def _windows(source: MotionSource, horizon: int, repeat_tail: bool) -> Windows:
    """Rows of every chunk in the episodes, which stand one after the other."""
    first, last, start = [], [], 0
    for motion in source.motions:
        count = len(motion) if repeat_tail else len(motion) - horizon + 1
        first.append(torch.arange(start, start + count))
        start += len(motion)
        last.append(torch.full((count,), start - 1))
    return Windows(first=torch.cat(first), last=torch.cat(last), horizon=horizon)


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


def _start_states(source: MotionSource, rows: np.ndarray) -> np.ndarray:
    """What the chunk of each of the rows (N, D) starts from, alike."""
    if source.states is None:
        return rows
    lengths = ([len(one) for one in part] for part in (source.motions, source.states))
    for index, (actions, states) in enumerate(zip(*lengths, strict=True)):
        if actions != states:
            name = source.episodes[index] if source.episodes else f"episode {index}"
            raise TrainingError(
                f"{source.name}: {name} has {states} states for {actions} actions: remove it"
            )
    return np.concatenate(source.states).astype(np.float32)


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


def _generate(cell: Cell, motions: int, seed: int) -> list[MotionSource]:
    """Scripted motion of bodies other than the cell's arms, one source per body."""
    from ate_sim.embodiments import bodies_of, generate_motion  # loads the physics engine

    bodies = tuple(bodies_of(cell))[:motions]
    sources = []
    for index, body in enumerate(bodies):
        share = motions // len(bodies) + (index < motions % len(bodies))
        episodes = generate_motion(share, seed + index, embodiments=(body,), cell=cell)
        sources.append(MotionSource(f"generated {body}", episodes, generated=True))
    return sources
