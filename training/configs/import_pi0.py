"""Configuration of `ate import-pi0`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ate_core.errors import require_at_least_one
from ate_policy.models.entry import PresetName
from training.data.dataset import ActionSpace


@dataclass(frozen=True, kw_only=True)
class ImportPi0Config:
    """Bring the weights of a pi0 or pi0.5 from lerobot or openpi into a checkpoint.

    Which of them it is stands in the names of the weights.
    Fine-tune it: `ate finetune policy:pi0 --policy.preset full --init ... --variant vision ...`.
    Nothing is downloaded.
    """

    source: tyro.conf.Positional[Path]
    """Folder with model.safetensors (or shards and their index) of lerobot or of openpi's PyTorch
    conversion."""
    output: Path
    """Checkpoint folder to write."""
    cell: Path | None = None
    """Cell that the policy is for; None: the packaged one."""
    tokenizer: Path | None = None
    """Folder of PaliGemma's tokenizer; None: the source folder, if it holds one."""
    language: bool = True
    """Whether the policy reads the instruction; without, it needs no tokenizer."""
    statistics: Path | None = None
    """openpi's norm_stats.json of data of this cell, or that of `ate export-pi0`; None: fine-tune
    before running."""
    actions: ActionSpace | None = None
    """Whether the weights learned joints as differences from the present ones (relative), as
    openpi's did, or as targets (absolute). None: as the folder's config.json or the statistics
    tell."""
    cameras: tuple[str, ...] = ()
    """The cell's image key for each camera of the policy, in its order; fewer want fine-tuning.
    (): they have one name, or openpi's; all of the cell where the folder's config.json names
    none."""
    horizon: int | None = None
    """Actions per chunk [ticks], on which the weights do not depend; None: as the folder's
    config.json tells, else those of one second at the cell's tick rate."""
    preset: PresetName = "full"
    """Sizes of the network; full are the published ones."""

    def __post_init__(self) -> None:
        """Refuse arguments that do not fit together."""
        require_at_least_one(horizon=self.horizon)


@dataclass(frozen=True, kw_only=True)
class ExportPi0Config:
    """Write a pi0 or pi0.5 as a folder that lerobot opens: the way back of `ate import-pi0`.

    With config.json, processors and their statistics; lerobot takes the tokenizer from the hub.
    norm_stats.json holds the statistics for openpi.
    """

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint or run folder of a pi0 or pi0.5 of ours."""
    output: Path
    """New folder to write."""
