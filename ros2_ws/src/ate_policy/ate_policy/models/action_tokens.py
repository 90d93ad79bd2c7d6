"""Action tokens: a chunk of one arm's actions as a few codes of a codebook, and back.

The Act-VAE of CLAP (arXiv 2601.04061, section III-C1): [H embedded actions, N_q registers] go
through self-attention, the registers are z_e, each is replaced by its nearest code, and self-
attention over [N_q codes, H queries] gives the chunk. It is deterministic: no KL, no sampling.
Both arms of a cell are sequences of their own through one network and one codebook.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ate_core.errors import CheckpointError
from ate_policy.models.skip_transformer import SkipTransformer

ACTION_TOKENS = "action_tokens"
"""Kind of a checkpoint that holds action tokens."""

TokenSpace = Literal["tool", "relative", "absolute"]
"""tool: motion of the tool since the chunk's start, comparable between bodies; relative, absolute:
joints, as differences from the measured ones at the chunk's start, or as they are."""


@dataclass(frozen=True, kw_only=True)
class ActionTokensConfig:
    """Sizes of action tokens; stored in their checkpoint."""

    horizon: int
    """Actions per chunk H."""
    action_size: int
    """Numbers per action of one arm D."""
    space: TokenSpace = "tool"
    """What these numbers are."""
    codes: int = 8
    """Codes per arm and chunk N_q."""
    codebook: int = 256
    """Codes to choose from K."""
    code_width: int = 128
    """Numbers per code."""
    width: int = 64
    """Width of the transformers."""
    encoder_layers: int = 2
    """Layers of the encoder; half of them carry a skip."""
    decoder_layers: int = 2
    """Layers of the decoder, likewise."""
    heads: int = 4
    """Attention heads."""
    feedforward: int = 256
    """Width of the feed-forward part."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for name, value in vars(self).items():
            if name != "space" and value < 1:
                raise CheckpointError(f"{name} is {value}, must be at least 1")
        if self.codebook < 2:
            raise CheckpointError(f"codebook is {self.codebook}: one code says nothing, give 2")
        numbers = self.horizon * self.action_size
        if self.codes > numbers:
            raise CheckpointError(
                f"codes is {self.codes}: a chunk has {self.horizon} actions of {self.action_size} "
                f"numbers, give at most {numbers}"
            )
        if self.width % self.heads:
            raise CheckpointError(f"width {self.width} must be a multiple of heads {self.heads}")

    @property
    def bits(self) -> float:
        """Capacity per arm and chunk, N_q log2 K [bit]."""
        return self.codes * math.log2(self.codebook)


class Codebook(nn.Module):
    """K codes; what it is given becomes the nearest of them.

    The codes learn by the gradient of the loss (Eq. 2), not by averages of what they stand for.
    """

    usage: Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(count, width).uniform_(-1.0 / count, 1.0 / count))
        self.register_buffer("usage", torch.zeros(count, dtype=torch.int64))
        self.frozen = False

    def nearest(self, z: Tensor) -> Tensor:
        """Index of the nearest code, (..., W) -> (...); the first one of equals.

        Compared in float32 whatever the network computes in: codes lie close together.
        """
        flat, codes = z.detach().float().flatten(0, -2), self.codes.detach().float()
        with torch.autocast(z.device.type, enabled=False):
            distance = codes.square().sum(1) - 2.0 * flat @ codes.T  # + |z|^2, equal for all
        return distance.argmin(dim=1).view(z.shape[:-1])

    def forward(self, indices: Tensor) -> Tensor:
        """The codes of indices, (...) -> (..., W), with a gradient to the codes."""
        return nn.functional.embedding(indices, self.codes)

    @torch.no_grad()
    def count(self, indices: Tensor) -> None:
        """Note which codes were used since the last restart; a frozen book notes nothing."""
        if not self.frozen:
            self.usage += torch.bincount(indices.flatten(), minlength=len(self.codes))

    @torch.no_grad()
    def restart(self, pool: Tensor, generator: torch.Generator) -> int:
        """Move codes that were not used to vectors drawn from a pool (P, W), and count anew.

        A frozen book stays as it is.

        Returns:
            How many codes were moved.
        """
        if self.frozen:
            return 0
        unused = (self.usage == 0).nonzero()[:, 0]
        rows = torch.randint(len(pool), (len(unused),), generator=generator)
        self.codes[unused] = pool[rows.to(pool.device)].to(self.codes.dtype)
        self.usage.zero_()
        return len(unused)

    def freeze(self) -> None:
        """From here on neither a gradient nor a restart moves a code."""
        self.frozen = True
        self.codes.requires_grad_(False)


def straight_through(z_e: Tensor, z_q: Tensor) -> Tensor:
    """z_q, with the gradient going to z_e: z_e + sg(z_q - z_e)."""
    return z_e + (z_q - z_e).detach()


class ActionTokens(nn.Module):
    """Encoder, codebook and decoder of one arm's chunks of normalised actions."""

    def __init__(self, config: ActionTokensConfig) -> None:
        super().__init__()
        self.config = config
        width, length = config.width, config.horizon + config.codes
        self.embed = nn.Linear(config.action_size, width)
        self.registers = nn.Parameter(torch.randn(config.codes, width))
        self.encoder_positions = nn.Parameter(torch.rand(length, width))
        self.encoder = SkipTransformer(config, config.encoder_layers)
        self.encoder_norm = nn.LayerNorm(width)
        self.down = _maps(width, width, config.code_width)
        self.codebook = Codebook(config.codebook, config.code_width)
        self.up = _maps(config.code_width, width, width)
        self.decoder_positions = nn.Parameter(torch.rand(length, width))
        self.decoder = SkipTransformer(config, config.decoder_layers)
        self.decoder_norm = nn.LayerNorm(width)
        self.reconstruct = nn.Linear(width, config.action_size)

    def embed_chunks(self, actions: Tensor) -> Tensor:
        """Before the codebook: (B, H, D) -> z_e (B, N_q, W)."""
        registers = self.registers.expand(len(actions), -1, -1)
        x = torch.cat([registers, self.embed(actions)], dim=1) + self.encoder_positions
        x = self.encoder(x, keep=self.config.codes)
        z_e: Tensor = self.down(self.encoder_norm(x))
        return z_e

    def encode(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, D) -> codes (B, N_q) int64, z_e (B, N_q, W)."""
        z_e = self.embed_chunks(actions)
        return self.codebook.nearest(z_e), z_e

    def decode(self, codes: Tensor) -> Tensor:
        """(B, N_q) int64 -> (B, H, D)."""
        return self.decode_latent(self.codebook(codes))

    def decode_latent(self, z: Tensor) -> Tensor:
        """Behind the codebook: (B, N_q, W) -> (B, H, D)."""
        x = self.up(z)
        x = nn.functional.pad(x, (0, 0, 0, self.config.horizon)) + self.decoder_positions
        x = self.decoder(x)[:, self.config.codes :]
        actions: Tensor = self.reconstruct(self.decoder_norm(x))
        return actions

    def forward(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What Eq. 2 needs.

        Args:
            actions: (B, H, D).

        Returns:
            a_hat (B, H, D), z_e and z_q (B, N_q, W), codes (B, N_q).
        """
        codes, z_e = self.encode(actions)
        z_q = self.codebook(codes)
        return self.decode_latent(straight_through(z_e, z_q)), z_e, z_q, codes

    def freeze(self) -> "ActionTokens":
        """For use as a fixed space: eval mode, no gradients, no restarts."""
        self.codebook.freeze()
        return self.eval().requires_grad_(False)


def _maps(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
