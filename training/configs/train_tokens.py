"""Configuration of `ate train-tokens`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ate_core.errors import (
    UsageError,
    require_at_least_one,
    require_not_negative,
    require_once,
    require_seed,
)
from ate_policy.models.action_tokens import TokenSpace
from training.audit.gate import Gated
from training.configs.run import Precision

Split = Literal["every-fifth", "last-fifth"]
"""Episodes that are held out: every fifth, or the last fifth as they were recorded."""

Match = Literal["ours", "paper", "reference"]
Norms = Literal["sum", "mean"]
BetaOn = Literal["commitment", "book"]
BookGroup = Literal["codebook", "codebook and maps"]
BookStart = Literal["kmeans", "uniform"]
Restart = Literal["encodings", "copies", "none"]
Still = Literal["keep", "redraw"]


@dataclass(frozen=True, kw_only=True)
class TokenPreset:
    """Sizes that are chosen together, with a learning rate that suits them."""

    code_width: int
    """Numbers per code."""
    width: int
    """Width of the transformers."""
    encoder_layers: int
    """Layers of the encoder."""
    decoder_layers: int
    """Layers of the decoder."""
    heads: int
    """Attention heads."""
    feedforward: int
    """Width of the feed-forward part."""
    learning_rate: float
    """Peak learning rate of the network."""


PRESETS = {
    "small": TokenPreset(
        code_width=32,
        width=64,
        encoder_layers=2,
        decoder_layers=2,
        heads=4,
        feedforward=256,
        learning_rate=1e-3,
    ),
    "paper": TokenPreset(
        code_width=128,
        width=512,
        encoder_layers=15,
        decoder_layers=15,
        heads=4,
        feedforward=1024,
        learning_rate=2e-5,
    ),
}
"""small: minutes on a CPU; paper: arXiv 2601.04061, 15 + 15 layers."""


@dataclass(frozen=True, kw_only=True)
class TrainTokensConfig(Gated):
    """Train action tokens: chunks of one arm as a few codes, and back.

    The chunks are motion of the tool since the measured pose at their start, so that those of
    different bodies can be compared; joints where a body is not described. Whole episodes are held
    out; statistics and codes come from the others alone. `ate token-report` looks at the result.
    """

    output: Path
    """Run folder to write."""
    episodes: tuple[Path, ...] = ()
    """Folders of HDF5 episodes, each of its own cell."""
    recordings: tuple[Path, ...] = ()
    """Folders of other robots' motion (LeRobot, qpos files): joints only, `--space relative`."""
    motions: int = 0
    """Generated episodes of other bodies; 0: none."""
    cell: Path | None = None
    """Cell whose layout recordings and generated motion are brought into; None: the packaged
    one."""
    demonstrations: int | None = None
    """Use only the first so many episodes of each folder; None: all."""
    min_score: float = 0.0
    """Leave out episodes whose audit has a lower score, 0 to 100."""
    exclude: tuple[str, ...] = ()
    """Leave out these episodes (episode_000003), and those in which one of these rules of the
    audit finds something (idle)."""
    space: TokenSpace = "tool"
    """tool: position [m] and rotation vector [rad] of the tool since the chunk's start, and the
    gripper; relative, absolute: joints, as differences from the measured ones, or as they are."""
    split: Split = "every-fifth"
    """Episodes of each source that are held out."""
    horizon: int | None = None
    """Actions per chunk [ticks]; None: those of one second."""
    codes: int = 8
    """Codes per arm and chunk."""
    codebook: int = 256
    """Codes to choose from."""
    steps: int = 3000
    """Optimiser steps."""
    batch: int = 64
    """Chunks of one arm per step."""
    preset: Literal["small", "paper"] = "small"
    """Sizes and learning rate; the options below change one of them."""
    learning_rate: float | None = None
    """AdamW's peak for the network, falling to a tenth along a cosine; None: the preset's."""
    weight_decay: float = 1e-2
    """AdamW, for the network; codes have none."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    code_width: int | None = None
    """Numbers per code; None: the preset's, as for the sizes below."""
    width: int | None = None
    """Width of the transformers."""
    encoder_layers: int | None = None
    """Layers of the encoder."""
    decoder_layers: int | None = None
    """Layers of the decoder."""
    heads: int | None = None
    """Attention heads."""
    feedforward: int | None = None
    """Width of the feed-forward part."""
    match: Match = "ours"
    """ours: k-means start and restarts; paper: without what it does not mention; reference: what
    the released code does. The options below change one of its choices."""
    norms: Norms | None = None
    """Norms of the loss summed over a chunk, or means over their elements."""
    beta: float | None = None
    """Weight of the commitment."""
    beta_on: BetaOn | None = None
    """The term that beta multiplies."""
    book_group: BookGroup | None = None
    """What has the codes' learning rate."""
    book_rate: float | None = None
    """The codes' learning rate over the network's."""
    book_start: BookStart | None = None
    """How codes begin."""
    restart: Restart | None = None
    """Where codes go that were not used."""
    still: Still | None = None
    """Whether chunks that stand still are drawn anew."""
    restart_every: int = 200
    """Steps between restarts (released: 2000)."""
    precision: Precision = "fp32"
    """bf16: network in bfloat16 where that is safe; losses, codes and optimiser stay fp32."""
    seed: int = 0
    """Decides initial weights, order of the data, restarts and generated motion."""
    save_every: int = 1000
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between lines of the log."""
    threads: int = 1
    """CPU threads; more are slower on a shared machine."""
    resume: bool = False
    """Go on with the run in `output`, exactly as if it had never stopped."""

    def __post_init__(self) -> None:
        """Refuse arguments that do not fit together."""
        _ = self.gate  # refuses rules that are none
        require_seed(seed=self.seed)
        require_once(episodes=self.episodes, recordings=self.recordings)
        if not (self.episodes or self.recordings or self.motions):
            raise UsageError("there is no data: give --episodes, --recordings or --motions")
        if self.recordings and self.space == "tool":
            raise UsageError(
                "space is tool, but nothing describes the body of --recordings: give --space "
                "relative, or import them with `ate import` and a cell of that body"
            )
        require_at_least_one(
            horizon=self.horizon,
            codes=self.codes,
            codebook=self.codebook,
            steps=self.steps,
            batch=self.batch,
            demonstrations=self.demonstrations,
            restart_every=self.restart_every,
            save_every=self.save_every,
            log_every=self.log_every,
            threads=self.threads,
        )
        require_not_negative(
            motions=self.motions,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            learning_rate=self.peak_rate,
            beta=self.beta or 0.0,
            book_rate=self.book_rate or 0.0,
        )

    @property
    def peak_rate(self) -> float:
        """AdamW's peak: as given, or the preset's."""
        usual = PRESETS[self.preset].learning_rate
        return usual if self.learning_rate is None else self.learning_rate

    def sizes(self) -> dict[str, int]:
        """Sizes of the network by name: as given, or the preset's."""
        usual = dataclasses.asdict(PRESETS[self.preset])
        del usual["learning_rate"]
        given: dict[str, int | None] = {name: getattr(self, name) for name in usual}
        chosen = usual | {name: size for name, size in given.items() if size is not None}
        return {"codes": self.codes, "codebook": self.codebook, **chosen}
