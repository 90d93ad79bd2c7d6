"""Configuration of `ate import-vae`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ate_core.errors import UsageError, require_at_least_one, require_once, require_seed
from training.data.dataset import ActionSpace


@dataclass(frozen=True, kw_only=True)
class ImportVaeConfig:
    """Bring a stage-1 action VAE that the paper's authors published into a checkpoint.

    It replaces `ate train-vae --stage 1`; go on with
    `ate train-vae --stage 2 --preset paper --prior ...`. The moments of its latent, which stage 2
    is pulled to, are computed from the motion that you give. Nothing is downloaded.
    """

    source: tyro.conf.Positional[Path]
    """File as published (Best.pth, Last.pth), or the same as .safetensors."""
    output: Path
    """Checkpoint folder to write."""
    recordings: tuple[Path, ...] = ()
    """Folders of motion behind the moments: HDF5 files with qpos or action, episodes, LeRobot."""
    motions: int = 0
    """Scripted motions of other bodies besides."""
    cell: Path | None = None
    """Cell that it is for; None: the packaged one."""
    horizon: int | None = None
    """Actions per chunk [ticks]; None: those of the published runs, 64 for RDT's 128 numbers per
    action and 50 for pi0's 32."""
    heads: int = 4
    """Attention heads, which the weights do not tell; 4 as released."""
    actions: ActionSpace = "absolute"
    """Of the chunks that it is given."""
    normalise: bool = False
    """Give it normalised chunks; without, robot units, as the released code does. Stage 2 and
    `ate finetune` must be told the same."""
    seed: int = 0
    """Decides the scripted motions."""

    def __post_init__(self) -> None:
        """Refuse what cannot give moments."""
        require_at_least_one(horizon=self.horizon, heads=self.heads)
        require_seed(seed=self.seed)
        require_once(recordings=self.recordings)
        if not self.recordings and self.motions < 1:
            raise UsageError(
                "there is no motion to compute the latent's moments from: give --recordings, or "
                "--motions above 0"
            )
