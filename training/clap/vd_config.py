"""Sizes of the network of aligned video."""

from dataclasses import dataclass
from typing import Literal

from ate_core.errors import CheckpointError

Predicts = Literal["frame", "change"]
Network = Literal["conv", "attention"]


@dataclass(frozen=True, kw_only=True)
class VdVaeConfig:
    """Sizes of the network; stored in its checkpoint."""

    arms: int
    """Arms A of the cell."""
    codes: int
    """Codes per arm N_q of the action tokens."""
    codebook: int
    """Codes to choose from K of the action tokens."""
    code_width: int
    """Numbers per code, of both codebooks."""
    patches: int
    """Of a frame P."""
    feature_size: int
    """Numbers per patch F."""
    columns: int = 1
    """Patches per row of a frame."""
    axes: int = 0
    """Main directions of an arm's latents that z_a moves along; 0: every number for itself."""
    env_codes: int = 2
    """Codes of z_i (Table IX)."""
    env_codebook: int = 64
    """Codes to choose from for z_i."""
    network: Network = "attention"
    """attention: over space and time, as in the paper; conv: over what changed."""
    width: int = 64
    """Width of the network."""
    encoder_layers: int = 2
    """Blocks of the encoder: attention over space and over time, or halvings of the frame."""
    decoder_layers: int = 2
    """Blocks of the decoder: attention over space, or convolutions."""
    heads: int = 4
    """Attention heads."""
    feedforward: int = 256
    """Width of the feed-forward part."""
    predicts: Predicts = "change"
    """The decoder gives the features of t + H, or their change since t."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for name, value in vars(self).items():
            least = 0 if name == "axes" else 1
            if name not in ("predicts", "network") and value < least:
                raise CheckpointError(f"{name} is {value}, must be at least {least}")
        if self.patches % self.columns:
            raise CheckpointError(f"patches {self.patches} do not fill rows of {self.columns}")
        numbers = self.codes * self.code_width
        if self.axes > numbers:
            raise CheckpointError(f"axes is {self.axes}, an arm's latents have {numbers} numbers")
        if self.width % self.heads:
            raise CheckpointError(f"width {self.width} must be a multiple of heads {self.heads}")

    @property
    def action_latents(self) -> int:
        """Codes of all arms A N_q."""
        return self.arms * self.codes

    @property
    def rows(self) -> int:
        """Of patches."""
        return self.patches // self.columns

    @property
    def action_numbers(self) -> int:
        """Numbers per arm that the encoder finds."""
        return self.axes or self.codes * self.code_width
