"""Configuration of `ate import-rdt`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ate_core.errors import require_at_least_one


@dataclass(frozen=True, kw_only=True)
class ImportRdtConfig:
    """Bring the published weights of RDT-1B (or RDT-170M) into a checkpoint for this cell.

    Nothing is downloaded. Go on with
    `ate finetune policy:rdt --policy.preset full --init ... --variant vision --no-normalise ...`.
    """

    source: tyro.conf.Positional[Path]
    """Folder with model.safetensors, converted from the published pytorch_model.bin."""
    output: Path
    """Checkpoint folder to write."""
    cell: Path | None = None
    """Cell that the policy is for; None: the packaged one."""
    cameras: tuple[str, ...] = ()
    """Keys of the images that the policy reads; () takes all of the cell."""
    horizon: int | None = None
    """Actions per chunk [ticks], at most as many as published; None: all of them, 64."""
    text_encoder: Path | None = None
    """Folder of T5-v1.1-XXL; may be given to `ate finetune`, too."""
    image_encoder: Path | None = None
    """Folder of SigLIP so400m-patch14-384; may be given to `ate finetune`, too."""

    def __post_init__(self) -> None:
        """Refuse a chunk without actions."""
        require_at_least_one(horizon=self.horizon)
