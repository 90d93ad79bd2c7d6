"""Configuration of `ate label-video`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ate_core.errors import UsageError, require_at_least_one


@dataclass(frozen=True, kw_only=True)
class LabelVideoConfig:
    """Write codes of motion beside clips: what aligned video takes their arms to have done.

    Per episode and window the codes of each arm, and how sure they are; transitions in which
    nothing is seen to move are dropped.
    """

    aligned: tyro.conf.Positional[Path]
    """Run folder or checkpoint of `ate align-video`."""
    videos: tuple[Path, ...]
    """Folders of HDF5 episodes of which only the pictures are looked at."""
    tokens: Path | None = None
    """Refuse to label with the codes of other tokens than these; None: take what it has."""
    camera: str | None = None
    """Key of the camera; None: the one it was trained on."""
    replace: bool = False
    """Write over labels that are there."""
    threads: int = 1
    """CPU threads; more are slower on a shared machine."""

    def __post_init__(self) -> None:
        """Refuse arguments that cannot work."""
        if not self.videos:
            raise UsageError("there are no clips: give --videos")
        require_at_least_one(threads=self.threads)
