"""Configuration of `ate token-report`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ate_core.errors import UsageError, require_at_least_one, require_once, require_seed


@dataclass(frozen=True, kw_only=True)
class TokenReportConfig:
    """Rate and distortion of action tokens beside classical coders, on held-out episodes.

    Runs are compared on the motion they were trained on, each with its own split; the coders are
    fitted for both splits.
    """

    tokens: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders or checkpoints of `ate train-tokens`, of one space and horizon."""
    episodes: tuple[Path, ...] = ()
    """Folders of HDF5 episodes to look at; none: the motion that the runs were trained on."""
    recordings: tuple[Path, ...] = ()
    """Folders of other robots' motion to look at, likewise."""
    bits: tuple[float, ...] = (32.0, 64.0, 128.0)
    """Of the classical coders, per arm and chunk."""
    rivals: bool = True
    """Fit the classical coders; takes minutes."""
    output: Path = Path("token_report.html")
    """HTML file to write; the numbers go beside it as JSON."""
    threads: int = 1
    """CPU threads; more are slower on a shared machine."""
    seed: int = 0
    """Of the coders."""

    def __post_init__(self) -> None:
        """Refuse arguments that cannot work."""
        if not self.tokens:
            raise UsageError("there are no tokens: give a run folder of `ate train-tokens`")
        if self.output.suffix in ("", ".json"):
            raise UsageError(f"output is {self.output}: name an HTML file, for instance rate.html")
        if not all(8.0 <= bits <= 1024.0 for bits in self.bits):
            raise UsageError(f"bits are {self.bits}, must lie in 8..1024 per arm and chunk")
        require_at_least_one(threads=self.threads)
        require_seed(seed=self.seed)
        require_once(episodes=self.episodes, recordings=self.recordings)
