"""What a recorder is told: where episodes go, what is written beside the data, its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ate_core.errors import EpisodeError
from ate_recorder.episode_writer import MAX_QUEUE_BYTES


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """Where episodes go and what is written beside the data."""

    output: Path
    """Folder of the episodes."""
    task: str = ""
    """Short name of the task, for instance ``pick_place``."""
    instruction: str = ""
    """The task in words, as a policy will read it."""
    operator: str = ""
    """Who demonstrates."""
    seed: int = -1
    """Seed of a scripted demonstration; -1 for people."""
    require_images: bool = True
    """Whether an episode without its cameras is refused."""
    silence: float = 1.0
    """Silence of a required stream after which no episode is started [s]."""
    min_free_gb: float = 1.0
    """Free disk below which no episode is started and an open one is closed [GB]."""
    may_be_slow: bool = False
    """Whether an episode starts on a disk that is slower than the streams; it is told."""
    ring_s: float = 10.0
    """How far back the last seconds can be saved [s]."""
    ring_mb: float = 128.0
    """Memory that these seconds may take [MB]."""
    pre_roll_s: float = 0.0
    """How long before it was asked for an episode begins [s]."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the software that records, written into the episode."""

    def __post_init__(self) -> None:
        """Check the ring.

        Raises:
            EpisodeError: it is larger than the queue to the disk, or shorter than the pre-roll.
        """
        largest = MAX_QUEUE_BYTES / 1e6
        if not (1.0 <= self.ring_s <= 3600.0 and 1.0 <= self.ring_mb <= largest):
            raise EpisodeError(
                f"ring_s {self.ring_s:g} s and ring_mb {self.ring_mb:g} MB: need 1 to 3600 s and "
                f"1 to {largest:.0f} MB, the queue to the disk"
            )
        if not 0.0 <= self.pre_roll_s <= self.ring_s:
            raise EpisodeError(
                f"pre_roll_s {self.pre_roll_s:g} s: need 0 to ring_s {self.ring_s:g} s"
            )
