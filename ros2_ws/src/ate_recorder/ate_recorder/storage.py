"""Where episodes go: whether folder and disk take one, and what threatens the open one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ate_core.episode_folders import EpisodeFolders
from ate_core.errors import EpisodeError
from ate_recorder.bag_writer import BagWriter
from ate_recorder.disk import DiskGuard, Reserve
from ate_recorder.episode_writer import MAX_QUEUE_BYTES, EpisodeWriter
from ate_recorder.folder_claim import FolderClaim
from ate_recorder.recorder_config import RecorderConfig

LEAST_MINUTES = 2.0
"""Room for less is told while an episode is recorded [min]."""


class Storage:
    """The folder of the episodes and its disk.

    What the streams bring is an argument [byte/s]; 0 where it is not known yet.

    Args:
        config: Which folder, and its bounds.
        open_bag: Opens a bag.
        free_bytes: Free bytes on the disk of a folder.
        probe: Tries the speed of the disk of a folder [byte/s].
        claim: Keeps other recorders out of the folder; None: nobody does.
    """

    def __init__(
        self,
        config: RecorderConfig,
        *,
        open_bag: Callable[[Path], BagWriter],
        free_bytes: Callable[[Path], int],
        probe: Callable[[Path], float],
        claim: FolderClaim | None,
    ) -> None:
        self.folders = EpisodeFolders(config.output)
        """The episodes in it."""
        self.reserve = Reserve(config.output)
        """Room to write down how an episode ended."""
        self._open_bag = open_bag
        self._claim = claim
        self._may_be_slow = config.may_be_slow
        self._disk = DiskGuard(
            config.output, config.min_free_gb, free_bytes=free_bytes, probe=probe
        )
        self._bag: BagWriter | None = None
        self.trouble = self.folder_trouble()
        """What stands in the way, for the status; empty where nothing does."""

    def make_bag(self, folder: Path) -> BagWriter:
        """Make the bag of an episode, whose speed is measured from now on."""
        self._bag = self._open_bag(folder)
        return self._bag

    def probe(self) -> None:
        """Try how fast the disk is; takes half a second."""
        self._disk.probe()

    def told(self, comes: float) -> dict[str, Any]:
        """What the status tells of the disk."""
        return self._disk.state(comes).as_dict()

    def slowness(self, comes: float, margin: float) -> str:
        """Why the disk is too slow for so many times what comes; empty where it is not."""
        return self._disk.state(comes).slowness(margin)

    def free_gb(self) -> float:
        """Room that is left [GB]."""
        return self._disk.state(0.0).free / 1e9

    def require(self, comes: float) -> None:
        """Refuse an episode for which there is no place.

        Raises:
            EpisodeError: with the numbers and the remedy.
        """
        self.trouble = self.folder_trouble()
        if self.trouble:
            raise EpisodeError(self.trouble)
        refusal = self._disk.refusal(comes, self._may_be_slow)
        if refusal:
            raise EpisodeError(f"no episode started in {self.folders.output}: {refusal}")

    def folder_trouble(self) -> str:
        """Why the folder takes no episode of this recorder; empty where it does."""
        trouble = self.folders.trouble()
        return trouble or ("" if self._claim is None else self._claim.trouble())

    def end_of(self, episode: EpisodeWriter, comes: float) -> str:
        """Why an open episode cannot go on; empty while it can."""
        state = self._disk.state(comes)
        if episode.error is not None:
            told = getattr(episode.error, "strerror", None) or episode.error
            return f"the disk refused it ({told}): {state.free / 1e9:.2f} GB free"
        if state.free < state.reserve / 2:
            return f"disk full: {state.free / 1e9:.2f} GB free"
        return ""

    def threat(self, episode: EpisodeWriter, comes: float) -> str:
        """What threatens an open episode, with the numbers; empty where nothing does."""
        takes = 0.0 if self._bag is None else self._bag.meter.bytes_per_second
        self._disk.note(takes)
        state = self._disk.state(comes)
        if state.minutes is not None and state.minutes < LEAST_MINUTES:
            return f"the disk is full in {state.minutes:.1f} min: stop soon, then free space"
        if episode.waiting_bytes < MAX_QUEUE_BYTES / 4:
            return ""
        takes = takes or state.takes
        return (
            f"{episode.waiting_bytes / 1e6:.0f} MB wait for the disk, which takes "
            f"{takes / 1e6:.0f} MB/s of the {state.comes / 1e6:.0f} MB/s that come; some are lost "
            f"from {MAX_QUEUE_BYTES / 1e6:.0f} MB on: stop soon, choose a faster disk"
        )
