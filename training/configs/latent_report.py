"""Configuration of `ate latent-report`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ate_core.errors import UsageError, require_seed


@dataclass(frozen=True, kw_only=True)
class LatentReportConfig:
    """Look into the latent space of an action VAE: what it loses, uses and shares with stage 1."""

    vae: tyro.conf.Positional[Path]
    """Run folder or checkpoint of `ate train-vae`, of stage 2."""
    episodes: Path | None = None
    """Folder of HDF5 episodes to look at; None: those it was trained on."""
    prior: Path | None = None
    """Stage-1 VAE; None: the one that the run was given."""
    output: Path = Path("latent_report.html")
    """HTML file to write; the numbers go beside it as JSON, the video as MP4."""
    chunks: int = 400
    """Chunks that are looked at, spread evenly over the episodes."""
    motions: int = 8
    """Generated episodes shown of stage 1, of those that it learned from."""
    video: bool = True
    """Play an interpolation between two chunks in the simulated cell; needs the EGL packages."""
    task: str = "pick_place"
    """Task whose objects stand in the video."""
    seed: int = 0
    """Of the samples drawn for the MMD, and of the video's start."""

    def __post_init__(self) -> None:
        """Refuse arguments that cannot work."""
        if self.output.suffix in ("", ".json", ".mp4"):
            raise UsageError(f"output is {self.output}: name an HTML file, for instance psi.html")
        require_seed(seed=self.seed)
        if self.chunks < 10:
            raise UsageError(f"chunks is {self.chunks}: fewer than 10 say nothing")
        if self.motions < 0:
            raise UsageError(f"motions is {self.motions}, must not be negative")
