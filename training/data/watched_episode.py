"""An episode as somebody who only watched it has it: pictures, poses of objects, words.

Neither commands nor what the arms measured is opened: what is learned from it cannot depend on
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import EpisodeError
from training.data.episode_file import (
    EpisodeImages,
    checked_cell,
    object_names_of,
    open_episode,
    read_attributes,
)

WATCHED = ("/timestamps_ns", "/observations/environment", "/observations/images")
"""All that is opened."""


@dataclass(frozen=True, kw_only=True)
class WatchedEpisode:
    """What was seen."""

    timestamps_ns: NDArray[np.int64]
    """Ticks (T,) [ns]."""
    environment: NDArray[np.float32] | None
    """Object poses in the world frame (T, n, 7); None without any."""
    object_names: tuple[str, ...]
    """Of the n objects, in their order; empty: not known."""
    images: Mapping[str, Sequence[bytes]]
    """Camera key to T JPEGs, read lazily from the file."""
    cell: Cell
    """The cell at recording time."""
    instruction: str
    """What was to be done, in words."""

    def __len__(self) -> int:
        return len(self.timestamps_ns)


def read_watched(path: Path) -> WatchedEpisode:
    """Read an episode without its actions.

    Raises:
        EpisodeError: the file is damaged or incomplete.
    """
    with open_episode(path) as file:
        attributes = read_attributes(path, file)
        try:
            stamps = file[WATCHED[0]][()]
            environment = file[WATCHED[1]][()] if WATCHED[1] in file else None
            images = file.get(WATCHED[2], {})
            lengths = {key: len(images[key]) for key in images}
        except (KeyError, OSError) as error:
            raise EpisodeError(
                f"{path} is damaged ({' '.join(str(error).split())}); convert its bag again"
            ) from None
    objects = {} if environment is None else {"environment": len(environment)}
    for name, length in {**lengths, **objects}.items():
        if length != len(stamps):
            raise EpisodeError(f"{path}: {name} has not {len(stamps)} ticks: convert it again")
    return WatchedEpisode(
        timestamps_ns=stamps,
        environment=environment,
        object_names=object_names_of(path, attributes),
        images={key: EpisodeImages(path, key, length) for key, length in lengths.items()},
        cell=checked_cell(path, attributes),
        instruction=str(attributes["instruction"] or attributes["task"]),
    )
