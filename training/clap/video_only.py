"""Clips: episodes of which only the pictures of one camera are looked at.

What an episode holds besides - actions, states, forces - is never opened here, so what is learned
from clips cannot depend on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ate_core.episode_outcome import SUCCESS
from ate_core.errors import EpisodeError
from training.clap.features import FeatureConfig
from training.data.episode_file import list_episodes, read_outcome_of
from training.data.images import ImageStore
from training.data.watched_episode import read_watched

CHANGED = 16
"""Difference of a pixel that no noise of a camera makes, of 255 [levels]."""
STILL_SHARE = 2e-3
"""Share of pixels that changed below which nothing is seen to move."""
MEMORY_GB = 8.0
"""Pictures are kept decoded if that is enough."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """What is read of one episode."""

    name: str
    """Stem of its file."""
    images: Sequence[bytes]
    """T JPEGs, read on access."""
    timestamps_ns: NDArray[np.int64]
    """(T,) ticks."""
    tick_rate: float
    """Ticks per second [Hz]."""


def read_clips(folder: Path, camera: str, tick_rate: float) -> list[Clip]:
    """Read the clips of a folder; of what people did, only what succeeded.

    Args:
        folder: Of HDF5 episodes.
        camera: Key of the camera.
        tick_rate: They must have [Hz].

    Raises:
        EpisodeError: one has no such camera, another rate, or is damaged, or none succeeded.
    """
    paths = list_episodes(folder)
    clips = [read_clip(path, camera) for path in paths if read_outcome_of(path) == SUCCESS]
    if not clips:
        raise EpisodeError(f"none of the {len(paths)} clips in {folder} is a success: record more")
    for clip in clips:
        if clip.tick_rate != tick_rate:
            raise EpisodeError(
                f"{folder / clip.name} has tick_rate {clip.tick_rate:g}, needed is {tick_rate:g}: "
                "convert its bag to that rate"
            )
    return clips


def read_clip(path: Path, camera: str) -> Clip:
    """Read one clip; only its pictures, ticks and rate are kept.

    Raises:
        EpisodeError: it has no such camera, or is damaged.
    """
    episode = read_watched(path)
    if camera not in episode.images:
        raise EpisodeError(
            f"{path} has no images of {camera}, it has {sorted(episode.images)}: give --camera"
        )
    return Clip(
        name=path.name.partition(".")[0],
        images=episode.images[camera],
        timestamps_ns=episode.timestamps_ns,
        tick_rate=episode.cell.tick_rate,
    )


def frame_store(
    images: Sequence[Sequence[bytes]], first: Sequence[int], config: FeatureConfig
) -> ImageStore:
    """Frames of episodes, one after the other, in the size that the features read."""
    return ImageStore(
        [[one] for one in images],
        first,
        height=config.height,
        width=config.width,
        fit="stretch",
        memory_gb=MEMORY_GB,
    )


def frames_at(store: ImageStore, ticks: Tensor) -> Tensor:
    """(B,) ticks of a store of one camera -> (B, h, w, 3) uint8."""
    return store.rows(ticks)[:, 0]


def moving(store: ImageStore, ticks: Tensor, horizon: int, block: int = 256) -> Tensor:
    """Whether something is seen to move between the ticks t and t + H, (M,) bool.

    A transition in which nothing moves would be labelled "do nothing", whoever worked out of view.
    """
    found = []
    for part in ticks.split(block):
        before, after = (frames_at(store, at).short() for at in (part, part + horizon))
        changed = ((after - before).abs().amax(dim=-1) >= CHANGED).float()
        found.append(changed.mean(dim=(1, 2)) >= STILL_SHARE)
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.bool)
