"""What action tokens learn from: chunks of each arm, split by episode."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ate_core.arm_model import Embodiment
from ate_core.contract import Cell, load_cell, parse_cell_text
from ate_core.errors import LayoutError, TrainingError
from ate_core.layout import VectorLayout
from ate_policy.chunking import usual_horizon
from ate_policy.models.action_tokens import TokenSpace
from ate_policy.tool_space import to_tool_chunks, tool_arms, tool_layout, tool_poses
from ate_policy.transforms import Normalise, Statistics
from training.configs.train_tokens import Split, TrainTokensConfig
from training.data.dataset import chunk_windows
from training.data.digests import sha256_of
from training.data.episode_file import read_cell
from training.data.pretraining import MotionSource, load_sources
from training.data.provenance import recordings_of
from training.data.statistics import quantile_statistics, vector_statistics
from training.data.trajectory import read_trajectories

logger = logging.getLogger(__name__)

HELD_SHARE = 5
"""One of so many episodes is held out."""
STILL = 1e-3
"""Largest change from tick to tick of what stands still [m, rad, ratio]."""


@dataclass(frozen=True, kw_only=True)
class BodyMotion:
    """Episodes of one body."""

    source: MotionSource
    """Its commands, and what was measured."""
    cell: Cell
    """Whose layout they are in."""
    body: Embodiment | None = None
    """How its arms differ from the cell's."""
    arms_known: bool = True
    """Whether the cell's arms, or this body's, are those that moved; recordings of other robots
    are in the cell's layout only."""


@dataclass(frozen=True, kw_only=True)
class TokenData:
    """Chunks of all arms of all episodes, in their units."""

    chunks: Tensor
    """(N, A, H, D) of N ticks and A arms."""
    starts: Tensor
    """(N, A, D) measured joints and gripper at the chunk's start; zeros in tool space."""
    episode: Tensor
    """(N,) number of the episode, over all sources."""
    held_out: Tensor
    """(N,) whether the episode is held out."""
    layout: VectorLayout
    """Names and units of a tick of all arms, A D numbers."""
    statistics: Statistics
    """Of the episodes that are not held out: "mean" and "std" bring their q01 and q99 to +-1."""
    contract: str
    """Canonical text of the cell."""
    sources: dict[str, int]
    """Origin: name -> chunks per arm."""
    described: bool
    """Whether the arms of the contract are those that moved, so that joints give tools."""
    about: dict[str, Any] = field(default_factory=dict)
    """More on the origin, for the record."""

    def sha256(self) -> str:
        """Digest that tells whether a run learns from the same data."""
        return sha256_of(self.contract, str(self.sources), self.chunks, self.held_out)

    @property
    def still(self) -> Tensor:
        """(N, A) whether an arm stands still for half of the steps of a chunk."""
        change = self.chunks.diff(dim=2).abs().amax(dim=3)
        return (change < STILL).float().mean(dim=2) >= 0.5

    def normalised(self) -> Tensor:
        """(N, A, H, D) in model units."""
        return normalise_arms(self.chunks, self.statistics)


def same_take_note(sources: Sequence[str]) -> str:
    """Of which sources the held-out episodes are no unseen takes; empty: of none."""
    return f"; of {', '.join(sources)} parts of the same take" if sources else ""


def normalise_arms(chunks: Tensor, statistics: Statistics) -> Tensor:
    """Chunks of all arms (N, A, H, D) in model units."""
    flat = chunks.transpose(1, 2).flatten(2)  # (N, H, A D)
    scaled = Normalise(statistics.action).apply(flat)
    arms: Tensor = scaled.unflatten(2, (chunks.shape[1], -1)).transpose(1, 2)
    return arms.contiguous()


def horizon_of(config: TrainTokensConfig) -> int:
    """Actions per chunk: as given, or those of one second at the tick rate of the data's cell."""
    if config.horizon is not None:
        return config.horizon
    cell = read_cell(config.episodes[0]) if config.episodes else load_cell(config.cell)
    return usual_horizon(cell.tick_rate)


def load_token_data(config: TrainTokensConfig) -> TokenData:
    """Read, cut and split the motion of a run."""
    return make_token_data(load_bodies(config), config.space, horizon_of(config), config.split)


def load_bodies(config: TrainTokensConfig) -> list[BodyMotion]:
    """The episodes of all sources, one entry per body."""
    bodies = [_demonstrations(config, folder) for folder in config.episodes]
    if not (config.recordings or config.motions):
        return bodies
    cell = load_cell(config.cell)
    for source in load_sources(
        cell,
        recordings=config.recordings,
        motions=config.motions,
        seed=config.seed,
        measured=True,
    ):
        body = _body_of(source, cell)
        bodies.append(BodyMotion(source=source, cell=cell, body=body, arms_known=source.generated))
    return bodies


def make_token_data(
    bodies: Sequence[BodyMotion], space: TokenSpace, horizon: int, split: Split
) -> TokenData:
    """Cut episodes into chunks of each arm and fit the statistics on those not held out.

    Args:
        bodies: At least one, of cells with the same layout of actions.
        space: Of the chunks.
        horizon: Actions per chunk.
        split: Which episodes of each body are held out.
    """
    first = bodies[0].cell
    layout = token_layout(first, space)
    chunks, starts, episodes, held, counts, offset = [], [], [], [], {}, 0
    same_take = []
    for one in bodies:
        _require_same_layout(one, first, space)
        source = one.source
        out = held_out(len(source.motions), split, source.name, source.recordings)
        if len(set(source.recordings)) == 1:
            same_take.append(source.name)
            logger.warning(
                "%s is one recording in %d parts: its last %d are held out, and what is measured "
                "on them is of the same take; record more takes for a measure of unseen ones",
                *(source.name, len(out), sum(out)),
            )
        made = [_chunks_of(one, index, space, horizon) for index in range(len(out))]
        for index, (values, start) in enumerate(made):
            chunks.append(values)
            starts.append(start)
            episodes.append(np.full(len(values), offset + index))
            held.append(np.full(len(values), out[index]))
        counts[one.source.name] = sum(len(values) for values, _ in made)
        offset += len(out)
    joined, mask = torch.from_numpy(np.concatenate(chunks)), np.concatenate(held)
    of_episode = np.concatenate(episodes)
    return TokenData(
        chunks=joined,
        starts=torch.from_numpy(np.concatenate(starts)),
        episode=torch.from_numpy(of_episode),
        held_out=torch.from_numpy(mask),
        layout=layout,
        statistics=_statistics(joined[torch.from_numpy(~mask)], space),
        contract=first.canonical_text(),
        sources=counts,
        described=all(one.body is None and one.arms_known for one in bodies),
        about={
            "episode_count": offset,
            "held_out_episodes": len(np.unique(of_episode[mask])),
            "same_take": same_take,
        },
    )


def held_out(count: int, split: Split, name: str, recordings: Sequence[int] = ()) -> list[bool]:
    """Which of so many episodes are held out: all parts of some recordings, about a fifth.

    A recording is passed over where less than half of it fits into a fifth (or the shortest one,
    where that is more), or where more than half of all would be held out. Of a single recording
    the last fifth of its parts is held out.

    Args:
        count: Of episodes.
        split: Of recordings.
        name: Of the source, for messages.
        recordings: Number of each episode's recording, from 0 on; empty: each has its own.

    Raises:
        TrainingError: there is but one episode.
    """
    if count < 2:
        raise TrainingError(
            f"{name} has {count} episode: at least 2 are needed, one of them is held out; record "
            "more, or cut it with `ate episodes split`"
        )
    sizes = Counter(recordings or range(count))
    if len(sizes) == 1:
        recordings, sizes = range(count), Counter(range(count))
        split = "last-fifth"
    most = max(-(-count // HELD_SHARE), min(sizes.values()))
    out: set[int] = set()

    def hold(number: int, wanted: int) -> None:
        held, size = sum(sizes[one] for one in out), sizes[number]
        half_fits = 2 * held + size <= 2 * most and held + size <= count / 2
        if number not in out and held < wanted and half_fits:
            out.add(number)

    seen = 0
    for number in sorted(sizes) if split == "every-fifth" else ():
        hold(number, seen // HELD_SHARE + 1)
        seen += sizes[number]
    for number in sorted(sizes, reverse=split == "last-fifth"):
        hold(number, max(1, count // HELD_SHARE))
    return [number in out for number in recordings or range(count)]


def _demonstrations(config: TrainTokensConfig, folder: Path) -> BodyMotion:
    trajectories = read_trajectories(folder, config.demonstrations, config.gate)
    source = MotionSource(
        f"episodes {folder.resolve().name}",
        [one.action for one in trajectories],
        [one.name for one in trajectories],
        states=[one.state for one in trajectories],
        recordings=recordings_of([one.source for one in trajectories]),
    )
    return BodyMotion(source=source, cell=parse_cell_text(trajectories[0].contract))


def _body_of(source: MotionSource, cell: Cell) -> Embodiment | None:
    """The body that generated motion is of; None: recordings, whose body nothing describes."""
    if not source.generated:
        return None
    from ate_sim.embodiments import bodies_of  # loads the physics engine

    return bodies_of(cell)[source.name.removeprefix("generated ")]


def token_layout(cell: Cell, space: TokenSpace) -> VectorLayout:
    """Names and units of a tick of all arms, in the order of their codes."""
    sides = tuple(cell.arms)
    if space == "tool":
        return tool_layout(sides)
    by_name = {one.name: one for one in cell.layout.action.fields}
    fields = [[by_name[f"{side}_arm"], by_name[f"{side}_gripper"]] for side in sides]
    if len({sum(one.size for one in pair) for pair in fields}) > 1:
        raise LayoutError(
            "the arms have different numbers of joints, tokens of joints are of one size: give "
            "--space tool"
        )
    return VectorLayout(fields=tuple(one for pair in fields for one in pair))


def _require_same_layout(one: BodyMotion, first: Cell, space: TokenSpace) -> None:
    own, theirs = one.cell, first
    if own.tick_rate != theirs.tick_rate:
        raise TrainingError(
            f"{one.source.name} has {own.tick_rate:g} ticks per second, the first source "
            f"{theirs.tick_rate:g}: give episodes of one rate"
        )
    if token_layout(own, space) != token_layout(theirs, space):
        raise TrainingError(
            f"{one.source.name} has other joints than the first source "
            f"({'; '.join(own.layout.differences(theirs.layout))}): give --space tool"
        )


def _chunks_of(
    one: BodyMotion, index: int, space: TokenSpace, horizon: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Chunks (T, A, H, D) of an episode and the measured vectors they start from."""
    action = one.source.motions[index]
    state = action if one.source.states is None else one.source.states[index]
    where = f"{one.source.name}, {_name(one.source, index)}"
    if len(state) != len(action):
        raise TrainingError(
            f"{where} has {len(state)} states for {len(action)} actions: remove it"
        )
    if len(action) < horizon:
        raise TrainingError(
            f"{where} has {len(action)} ticks, a chunk has {horizon}: remove it or shorten "
            "--horizon"
        )
    if not (np.isfinite(action).all() and np.isfinite(state).all()):
        raise TrainingError(f"{where} holds NaN or infinity: remove it")
    return arm_chunks(
        one.cell, action, state, chunk_windows(len(action), horizon), space, one.body
    )


def arm_chunks(
    cell: Cell,
    action: NDArray[np.float32],
    state: NDArray[np.float32],
    windows: NDArray[np.int64],
    space: TokenSpace,
    body: Embodiment | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Chunks (N, A, H, D) of each arm, in their units, and the vectors (N, A, D) they start from.

    Args:
        cell: Whose layout the rows have.
        action: (T, ...) commanded.
        state: (T, ...) measured; the chunk of a row starts from it.
        windows: (N, H) rows of each chunk, N = T.
        space: Of the chunks.
        body: Whose arms moved; None: the cell's.
    """
    if space != "tool":
        return _joint_chunks(cell, action, state, windows, relative=space == "relative")
    arms = tool_arms(cell, body).values()
    made = [
        to_tool_chunks(
            tool_poses(arm, action), action[:, arm.gripper], tool_poses(arm, state), windows
        )
        for arm in arms
    ]
    chunks = np.stack(made, axis=1)
    return chunks, np.zeros((len(chunks), chunks.shape[1], chunks.shape[3]), np.float32)


def _joint_chunks(
    cell: Cell,
    action: NDArray[np.float32],
    state: NDArray[np.float32],
    windows: NDArray[np.int64],
    *,
    relative: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    layout = cell.layout.action
    chunks, starts = [], []
    for side in cell.arms:
        arm, grip = layout.slice(f"{side}_arm"), layout.slice(f"{side}_gripper")
        columns = [*range(arm.start, arm.stop), *range(grip.start, grip.stop)]
        start = state[:, columns].astype(np.float32)
        start[:, arm.stop - arm.start :] = 0.0  # grippers stay absolute
        start = start if relative else np.zeros_like(start)
        chunks.append(action[:, columns].astype(np.float32)[windows] - start[:, None])
        starts.append(start)
    return np.stack(chunks, axis=1), np.stack(starts, axis=1)


def _name(source: MotionSource, index: int) -> str:
    return source.episodes[index] if source.episodes else f"episode {index}"


def _statistics(chunks: Tensor, space: TokenSpace) -> Statistics:
    """Over all ticks of chunks (N, A, H, D); a policy's state is none of their business."""
    rows = chunks.transpose(1, 2).flatten(2).flatten(0, 1).numpy()
    found = vector_statistics(rows, f"{space} chunks")
    return quantile_statistics(Statistics(state=found, action=found))
