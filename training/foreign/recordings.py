"""What the reader of each kind of recordings offers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.foreign.mapping import ColumnMapping, Vectors


class Frames(Protocol):
    """The images of one camera in one episode."""

    def jpegs(self, rows: NDArray[np.int64], *, swap: bool) -> Iterator[bytes]:
        """One JPEG for each of these rows, in one pass and never more than a few in memory.

        Args:
            rows: Never falling.
            swap: Exchange red and blue.

        Raises:
            EpisodeError: an image is missing or broken.
        """


@dataclass(frozen=True, kw_only=True)
class RecordedEpisode:
    """One episode as others recorded it, on its own rows."""

    name: str
    """What to call it."""
    rows: Mapping[str, NDArray[np.float64]]
    """(T, width) by feature."""
    rate: float
    """Rows per second [Hz]."""
    instruction: str = ""
    """The task in words."""
    outcome: str = ""
    """How it ended; empty: nobody says, as of demonstrations that were kept."""
    seed: int = -1
    """Of a scripted demonstration; -1: none."""
    frames: Mapping[str, Frames] = field(default_factory=dict)
    """Images by feature."""
    files: Sequence[Path] = ()
    """Files of its images: what the episode was made from, beside its rows."""


class Recordings(Protocol):
    """One folder of recordings; an episode that is wrong fails alone."""

    @property
    def body(self) -> str:
        """Which robot, as far as the recordings say."""

    @property
    def vectors(self) -> Vectors:
        """Features of numbers -> names of their columns."""

    @property
    def cameras(self) -> Sequence[str]:
        """Features of images."""

    @property
    def rate(self) -> float | None:
        """Rows per second [Hz]; None: they do not say."""

    def names(self) -> Sequence[str]:
        """One for each episode, in order."""

    def least_jpegs(self, index: int, mapping: ColumnMapping, rate: float) -> int:
        """Least that the pictures of an episode take as JPEGs [byte].

        Args:
            index: Of the episode; 0 for one that cannot be read, which is told later.
            mapping: Whose cameras are wanted.
            rate: Of the pictures [Hz].
        """

    def read(self, index: int, mapping: ColumnMapping, features: set[str]) -> RecordedEpisode:
        """One episode: these features, and the cameras of the mapping.

        Raises:
            EpisodeError: it is damaged or incomplete.
        """
