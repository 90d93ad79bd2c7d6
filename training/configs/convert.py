"""Settings of ``ate convert``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ate_core.entry_checks import Range
from ate_core.errors import UsageError
from ate_core.observation import StreamLimits
from ate_core.sampling import HOLD, SamplingRules
from training.audit.gate import Gated
from training.audit.judge import SET_RULES, rule_words, rules_version
from training.data.episode_file import FORMAT
from training.data.recording import NEAR
from training.export.camera_video import VideoConfig
from training.export.lerobot_folder import LerobotFolder
from training.tasks.choose import WorkConfig

BOUNDS = {
    "min_seconds": Range(0.0, 3600.0, "s"),
    "max_state_age": Range(0.001, 10.0, "s"),
    "max_image_age": Range(0.001, 10.0, "s"),
    "max_object_age": Range(0.001, 10.0, "s"),
    "max_late_start": Range(0.0, 60.0, "s"),
}
"""What each option may be: beyond it no episode is of use, or none is refused."""


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(Gated):
    """Convert recorded bags to HDF5 episodes for training."""

    bags: Path
    """Folder with the recorder's episode_NNNNNN folders, or one such folder."""
    output: Path
    """Folder for the episode_NNNNNN.hdf5 files, or for the LeRobot data set."""
    format: Literal["hdf5", "lerobot"] = "hdf5"
    """Files that training reads, or a LeRobot v3.0 data set."""
    video: VideoConfig = field(default_factory=VideoConfig)
    """How pictures are encoded where the format has videos."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""
    overwrite: bool = False
    """Convert again what is already there and up to date."""
    drop_missing: bool = False
    """Take episodes out of a LeRobot data set whose bags are gone, for instance since the trash
    was emptied."""
    audit: bool = False
    """Judge each episode by all rules and keep score and findings in its file."""
    min_score: float = 0.0
    """Leave out episodes whose audit has a lower score, 0 to 100."""
    exclude: tuple[str, ...] = ()
    """Leave out these episodes (episode_000003), and those in which one of these rules of the
    audit finds something (idle)."""
    keep_failures: bool = False
    """Convert episodes that ended as a failure or were interrupted, too."""
    min_seconds: float = 1.0
    """Shortest episode kept [s]."""
    max_state_age: float = 0.2
    """Largest age of an arm, gripper or wrench sample at a tick [s]."""
    max_image_age: float = 0.5
    """Largest age of an image at a tick [s]."""
    max_object_age: float = 0.5
    """Largest age of the object poses at a tick [s]."""
    max_late_start: float = 2.0
    """Longest wait for the last stream to begin, from the start of the episode [s]."""

    rules: SamplingRules = HOLD
    """Which sample stands for a stream at a tick."""

    def __post_init__(self) -> None:
        for name, bound in BOUNDS.items():
            if wrong := bound.problem(getattr(self, name)):
                raise UsageError(f"--{name.replace('_', '-')} {wrong}")
        if self.drop_missing and self.format != "lerobot":
            raise UsageError(
                "--drop-missing is of --format lerobot; files without bags are set aside with "
                f"`ate episodes delete {self.output}` and their numbers"
            )
        for rule in SET_RULES.keys() & set(self.gate.rules):
            raise UsageError(
                f"--exclude {rule} compares an episode with its set: convert, run "
                "`ate audit --bags` on the output, and give it to `ate finetune`"
            )

    @property
    def audits(self) -> bool:
        """Whether episodes are audited, as asked for or for the gate."""
        return self.audit or self.gate.needs_audit

    @property
    def farthest_start(self) -> float:
        """How far the first tick of an episode may be from the start of its recording [s]."""
        return max(NEAR, self.max_late_start)

    def limits(self) -> StreamLimits:
        """Return the ages as the sampler's limits."""
        return StreamLimits(
            joints=self.max_state_age, image=self.max_image_age, poses=self.max_object_age
        )

    def options_text(self) -> str:
        """Return everything that decides the bytes of an episode, as text."""
        part = LerobotFolder(output=self.output, video=self.video)
        return (
            f"format {FORMAT}; {self.limits()}; keep_failures {self.keep_failures}; "
            f"min {self.min_seconds}; late {self.max_late_start}; {self.rules}"
            + (f"; {part.options_text()}" if self.format == "lerobot" else "")
            + (f"; audited by {rules_version(rule_words())}" if self.audits else "")
        )
