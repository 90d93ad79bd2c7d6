"""The network of aligned video: what happened between two frames, as codes (CLAP's VD-VAE).

The inverse encoder reads features of the frames t and t + H and gives z_a, N_q vectors per arm
that live in the space of the action tokens and take codes of their frozen codebook, and z_i, all
the rest, with a codebook of its own. The forward decoder predicts the features of t + H from those
of t and both (arXiv 2601.04061, section III-C2, Algorithm 2).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ate_policy.models.action_tokens import Codebook, straight_through
from ate_policy.models.skip_transformer import LayerSizes, SelfAttention, feedforward
from training.clap.contrast import SigmoidContrast
from training.clap.latent_space import LatentSpace
from training.clap.vd_config import VdVaeConfig
from training.clap.vd_conv import ConvDecoder, ConvEncoder


class VideoOutputs(NamedTuple):
    """What Eq. 4 needs."""

    z_a: Tensor
    """(B, A, N_q, W) before the codebook."""
    z_i: Tensor
    """(B, N_i, W) likewise."""
    q_a: Tensor
    """(B, A, N_q, W) nearest codes of the action tokens; no gradient reaches them."""
    q_i: Tensor
    """(B, N_i, W) nearest codes of C_env, with a gradient to them."""
    codes_a: Tensor
    """(B, A, N_q) indices."""
    codes_i: Tensor
    """(B, N_i) indices."""
    predicted: Tensor
    """(B, P, F) features of t + H."""


class InverseEncoder(nn.Module):
    """E_inv: learned latents beside the patches of both frames, read at the second."""

    def __init__(self, config: VdVaeConfig) -> None:
        super().__init__()
        self.config = config
        width, latents = config.width, config.action_latents + config.env_codes
        self.embed = nn.Linear(config.feature_size, width)
        self.latents = nn.Parameter(0.02 * torch.randn(latents, width))
        self.places = nn.Parameter(0.02 * torch.randn(latents + config.patches, width))
        self.times = nn.Parameter(0.02 * torch.randn(2, 1, width))
        self.blocks = nn.ModuleList(Block(config, time=True) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(width)
        self.down_action = _maps(width, config.code_width)
        self.space = LatentSpace(config.codes, config.code_width, config.axes)
        self.down_axes = (
            nn.Linear(config.codes * config.code_width, config.axes) if config.axes else None
        )
        self.down_env = _maps(width, config.code_width)

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, P, F) of t and t + H -> z_a (B, A, N_q, W), z_i (B, N_i, W)."""
        config = self.config
        patches = self.embed(torch.stack([before, after], dim=1))  # (B, 2, P, W)
        latents = self.latents.expand(*patches.shape[:2], -1, -1)
        x = torch.cat([latents, patches], dim=2) + self.places + self.times
        for block in self.blocks:
            x = block(x)
        found = self.norm(x[:, 1, : len(self.latents)])
        z_a = self.down_action(found[:, : config.action_latents])
        z_i: Tensor = self.down_env(found[:, config.action_latents :])
        z_a = z_a.unflatten(1, (config.arms, config.codes))
        if self.down_axes is not None:
            z_a = self.space.place(self.down_axes(z_a.flatten(2)))
        return z_a, z_i


class ForwardDecoder(nn.Module):
    """D_fwd: the codes beside the patches of t."""

    def __init__(self, config: VdVaeConfig) -> None:
        super().__init__()
        self.config = config
        width, latents = config.width, config.action_latents + config.env_codes
        self.up_action = _maps(config.code_width, width)
        self.up_env = _maps(config.code_width, width)
        self.embed = nn.Linear(config.feature_size, width)
        self.places = nn.Parameter(0.02 * torch.randn(latents + config.patches, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.feature_size)

    def forward(self, start: Tensor, q_a: Tensor, q_i: Tensor) -> Tensor:
        """(B, P, F), (B, A, N_q, W), (B, N_i, W) -> features of t + H (B, P, F)."""
        codes = [self.up_action(q_a.flatten(1, 2)), self.up_env(q_i)]
        x = torch.cat([*codes, self.embed(start)], dim=1) + self.places
        for block in self.blocks:
            x = block(x[:, None])[:, 0]
        made: Tensor = self.out(self.norm(x[:, -self.config.patches :]))
        return start + made if self.config.predicts == "change" else made


class Block(nn.Module):
    """Pre-norm attention over space, over time where asked for, and feed-forward."""

    def __init__(self, config: LayerSizes, *, time: bool = False) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.space = SelfAttention(width, heads)
        self.time = SelfAttention(width, heads) if time else None
        self.feedforward = feedforward(config)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if time else 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, L, W) -> (B, T, L, W)."""
        shape = x.shape[:2]
        x = x + self.space(self.norms[0](x).flatten(0, 1)).unflatten(0, shape)
        if self.time is not None:
            over_time = self.norms[1](x).transpose(1, 2).flatten(0, 1)  # (B L, T, W)
            made = self.time(over_time).unflatten(0, (x.shape[0], x.shape[2]))
            x = x + made.transpose(1, 2)
        x = x + self.feedforward(self.norms[-1](x))
        return x


class VdVae(nn.Module):
    """Encoder, both codebooks, decoder and the two numbers of the contrast."""

    def __init__(self, config: VdVaeConfig) -> None:
        super().__init__()
        self.config = config
        conv = config.network == "conv"
        self.encoder: ConvEncoder | InverseEncoder
        self.encoder = ConvEncoder(config) if conv else InverseEncoder(config)
        self.action_book = Codebook(config.codebook, config.code_width)
        self.action_book.freeze()
        self.env_book = Codebook(config.env_codebook, config.code_width)
        self.decoder = ConvDecoder(config) if conv else ForwardDecoder(config)
        self.contrast = SigmoidContrast()

    @property
    def space(self) -> LatentSpace:
        """In which cosines are taken."""
        return self.encoder.space

    def forward(self, before: Tensor, after: Tensor, start: Tensor) -> VideoOutputs:
        """Encode, quantise and predict.

        Args:
            before: (B, P, F) features of frame t that the encoder sees.
            after: (B, P, F) of frame t + H.
            start: (B, P, F) of frame t that the decoder sees.
        """
        z_a, z_i = self.encoder(before, after)
        codes_a, codes_i = self.action_book.nearest(z_a), self.env_book.nearest(z_i)
        q_a, q_i = self.action_book(codes_a), self.env_book(codes_i)
        through = straight_through(z_a, q_a), straight_through(z_i, q_i)
        predicted = self.decoder(start, *through)
        return VideoOutputs(z_a, z_i, q_a, q_i, codes_a, codes_i, predicted)


def _maps(inputs: int, outputs: int) -> nn.Sequential:
    hidden = max(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
