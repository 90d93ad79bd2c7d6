"""Demonstrations in memory: observation of tick k, actions of ticks k+1 .. k+H.

`action[k]` of an episode is the command in force at tick k+1, so the chunk of tick k is
`action[k : k + H]`. Behind the end of an episode its last action is repeated. Policy and action
VAE take their chunks from here, so both see the same padding.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_core.errors import EpisodeError, LayoutError, TrainingError
from ate_policy.images import decode_jpeg, resize_image
from ate_policy.transforms import Statistics, environment_features
from training.data.episode_file import Episode, list_episodes, read_episode
from training.data.statistics import vector_statistics

logger = logging.getLogger(__name__)

STILL = 0.01
"""Largest change of a command that counts as waiting [rad, ratio]; as in RDT's loader."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One demonstration on ticks."""

    name: str
    """Where it came from, for messages."""
    state: np.ndarray
    """(T, S) measured."""
    action: np.ndarray
    """(T, D) commanded; row k is in force at tick k+1."""
    environment: np.ndarray | None = None
    """(T, n, 7) object poses, or None."""
    images: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """JPEGs by camera key; may be read on access."""
    first_image: int = 0
    """Index of the image that belongs to row 0."""
    contract: str
    """Canonical text of the cell."""
    task: str = ""
    """Name of the task."""


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """All ticks of all demonstrations, in robot units."""

    states: Tensor
    """(N, S)."""
    actions: Tensor
    """(N, D)."""
    environment: Tensor | None
    """(N, 6 n) object features."""
    images: Tensor | None
    """(N, cameras, h, w, 3) uint8."""
    windows: Tensor
    """(N, H) rows of `actions` that form the chunk of each tick."""
    contract: str
    """Canonical text of the cell."""
    task: str
    """Tasks shown, comma-separated."""
    episodes: int
    """Number of demonstrations."""

    def __len__(self) -> int:
        """Number of ticks N."""
        return len(self.states)

    @property
    def objects(self) -> int:
        """Object poses per tick."""
        return 0 if self.environment is None else self.environment.shape[1] // 6

    def statistics(self) -> Statistics:
        """Statistics of state, action and object features."""
        environment = self.environment
        return Statistics(
            state=vector_statistics(self.states.numpy(), "state"),
            action=vector_statistics(self.actions.numpy(), "action"),
            environment=None
            if environment is None
            else vector_statistics(environment.numpy(), "object features"),
        )


def chunk_windows(length: int, horizon: int) -> np.ndarray:
    """Rows of the chunk of every tick of an episode; the last row is repeated at the end.

    Returns:
        (length, horizon) int64.
    """
    rows = np.arange(length)[:, None] + np.arange(horizon)[None, :]
    return np.minimum(rows, length - 1)


def read_trajectories(folder: Path, limit: int | None = None) -> list[Trajectory]:
    """Read the successful HDF5 episodes of a folder, in the order of their names."""
    trajectories, failed = [], 0
    for path in list_episodes(folder):
        if limit is not None and len(trajectories) == limit:
            break
        episode = read_episode(path)
        if episode.outcome == "success":
            trajectories.append(to_trajectory(episode, path.name))
        else:
            failed += 1
    if failed:
        logger.info("%s: left out %d episodes that are no success", folder, failed)
    if not trajectories:
        raise TrainingError(f"none of the {failed} episodes in {folder} is a success: record more")
    return trajectories


def to_trajectory(episode: Episode, name: str) -> Trajectory:
    """What training needs of an episode, from its first motion on."""
    first = first_motion(episode.action)
    environment = episode.environment
    return Trajectory(
        name=name,
        state=episode.state[first:],
        action=episode.action[first:],
        environment=None if environment is None else environment[first:],
        images=episode.images,
        first_image=first,
        contract=episode.cell.canonical_text(),
        task=episode.task,
    )


def first_motion(action: np.ndarray) -> int:
    """Row before the first motion of an episode, 0 if nothing moves.

    A person waits before moving; a policy without memory that learns the wait repeats it for
    ever, because nothing it sees changes.
    """
    moved = (np.abs(action - action[0]) > STILL).any(axis=1)
    return max(0, int(np.argmax(moved)) - 1)


def gather(
    trajectories: Iterable[Trajectory],
    *,
    horizon: int,
    use_environment: bool = False,
    cameras: tuple[str, ...] = (),
    image_size: tuple[int, int] = (72, 128),
) -> Demonstrations:
    """Put demonstrations into tensors and check that they fit together."""
    trajectories = list(trajectories)
    if not trajectories:
        raise TrainingError("there are no demonstrations: give a folder of episodes")
    _check(trajectories, horizon, use_environment, cameras)
    windows, offset = [], 0
    for trajectory in trajectories:
        windows.append(chunk_windows(len(trajectory.action), horizon) + offset)
        offset += len(trajectory.action)
    return Demonstrations(
        states=_stack([t.state for t in trajectories]),
        actions=_stack([t.action for t in trajectories]),
        environment=_stack([environment_features(t.environment) for t in trajectories])
        if use_environment
        else None,
        images=_load_images(trajectories, cameras, image_size) if cameras else None,
        windows=torch.from_numpy(np.concatenate(windows)),
        contract=trajectories[0].contract,
        task=", ".join(sorted({t.task for t in trajectories} - {""})),
        episodes=len(trajectories),
    )


def _check(
    trajectories: list[Trajectory], horizon: int, use_environment: bool, cameras: tuple[str, ...]
) -> None:
    first = trajectories[0]
    layout = parse_cell_text(first.contract, where=first.name).layout
    for one in trajectories:
        if one.contract != first.contract:
            other = parse_cell_text(one.contract, where=one.name).layout
            if other.sha256 != layout.sha256:
                raise LayoutError(
                    f"{one.name} has another layout than {first.name}: "
                    f"{'; '.join(layout.differences(other))}. Train on one layout at a time"
                )
        length = len(one.action)
        if one.state.shape != (length, layout.state.size):
            raise EpisodeError(
                f"{one.name}: state has shape {one.state.shape}, must be "
                f"{(length, layout.state.size)}: convert it again"
            )
        if one.action.shape != (length, layout.action.size):
            raise EpisodeError(
                f"{one.name}: action has shape {one.action.shape}, must be "
                f"{(length, layout.action.size)}: convert it again"
            )
        if length < horizon:
            raise EpisodeError(
                f"{one.name} has {length} ticks, a chunk has {horizon}: remove it or shorten "
                "the horizon"
            )
        for name in ("state", "action"):
            if not np.isfinite(getattr(one, name)).all():
                raise EpisodeError(f"{one.name}: {name} holds NaN or infinity: convert it again")
        if use_environment:
            _check_environment(one, first)
        missing = [key for key in cameras if key not in one.images]
        if missing:
            raise EpisodeError(
                f"{one.name} has no images {missing}, it has {sorted(one.images)}: choose "
                "cameras it has, or record them"
            )


def _check_environment(one: Trajectory, first: Trajectory) -> None:
    if one.environment is None:
        raise EpisodeError(
            f"{one.name} has no object poses: a state policy learns from the simulated cell; "
            "train with --variant vision"
        )
    if one.environment.shape[1:] != first.environment.shape[1:]:
        raise EpisodeError(
            f"{one.name} has {one.environment.shape[1]} objects, {first.name} has "
            f"{first.environment.shape[1]}: train on one task at a time"
        )
    if not np.isfinite(one.environment).all():
        raise EpisodeError(f"{one.name}: object poses hold NaN or infinity: convert it again")


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float32))


def _load_images(
    trajectories: list[Trajectory], cameras: tuple[str, ...], size: tuple[int, int]
) -> Tensor:
    """(N, cameras, h, w, 3) uint8; images are shrunk one by one, so memory stays small."""
    total = sum(len(t.action) for t in trajectories)
    images = torch.empty((total, len(cameras), *size, 3), dtype=torch.uint8)
    first = 0
    for trajectory in trajectories:
        for column, key in enumerate(cameras):
            for tick, data in enumerate(trajectory.images[key][trajectory.first_image :]):
                small = resize_image(decode_jpeg(data, *size), *size)
                images[first + tick, column] = torch.from_numpy(small)
        first += len(trajectory.action)
    return images
