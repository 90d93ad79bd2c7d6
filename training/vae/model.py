"""Action VAE: a transformer with U-Net skips over chunks of actions.

Structure after motion-latent-diffusion (Chen et al. 2023) as used by ATE: post-norm layers, GELU,
learned positions, one latent token. Four simplifications are exact, and the tests hold the result
against the plain network of `benchmarks/plain_vae.py`:

- cross-attention to one latent token has a softmax of 1: W_o (W_v z + b_v) + b_o everywhere;
- the last encoder layer is evaluated for the two latent tokens only, and projects no keys and
  values: q . (W_k x + b_k) = (W_k^T q) . x + const, and attention weights sum to 1;
- the first decoder layer's self-attention sees the same input for every sample: once per batch;
- chunks have a fixed length: no masks.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ate_core.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class VaeConfig:
    """Sizes of an action VAE; stored in its checkpoint."""

    horizon: int
    """Actions per chunk H."""
    action_size: int
    """Numbers per action D."""
    latent: int = 64
    """Latent numbers L."""
    width: int = 64
    """Width of the transformer."""
    encoder_layers: int = 2
    """Layers of the encoder; half of them carry a skip."""
    decoder_layers: int = 2
    """Layers of the decoder."""
    heads: int = 4
    """Attention heads."""
    feedforward: int = 256
    """Width of the feed-forward part."""
    latent_head: Literal["linear", "norm"] = "linear"
    """linear: mean and log variance are linear maps of the normalised tokens, free in scale;
    norm: they are the normalised tokens themselves, as in the released code (latent == width)."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for name in ("horizon", "action_size", "latent", "width", "heads", "feedforward"):
            if getattr(self, name) < 1:
                raise CheckpointError(f"{name} is {getattr(self, name)}, must be at least 1")
        if min(self.encoder_layers, self.decoder_layers) < 1:
            raise CheckpointError("encoder_layers and decoder_layers must be at least 1")
        if self.width % self.heads:
            raise CheckpointError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.latent_head == "norm" and self.latent != self.width:
            raise CheckpointError(
                f"latent_head 'norm' needs latent {self.latent} == width {self.width}"
            )


class SelfAttention(nn.Module):
    """Multi-head self-attention without masks: chunks have a fixed length."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)."""
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = attend(q, k, v)  # (B, h, T, W / h)
        joined: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return joined

    def first(self, x: Tensor, count: int) -> Tensor:
        """(B, T, W) -> (B, count, W): the output of the first tokens, for little more than them.

        With the head's key map folded into the query and its value map applied to the attended
        mean of x, the other tokens need no projection.
        """
        w_q, w_k, w_v = self.project.weight.unflatten(0, (3, self.heads, -1))  # (h, W / h, W)
        b_q, _, b_v = self.project.bias.unflatten(0, (3, self.heads, -1))  # (h, W / h)
        q = torch.einsum("bcw,hdw->bchd", x[:, :count], w_q) + b_q
        folded = torch.einsum("bchd,hdw->bhcw", q, w_k)
        keys = x[:, None].expand(-1, self.heads, -1, -1)
        y = attend(folded, keys, keys, scale=q.shape[-1] ** -0.5)  # (B, h, count, W)
        y = torch.einsum("bhcw,hdw->bchd", y, w_v) + b_v
        joined: Tensor = self.out(y.flatten(2))
        return joined


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """softmax(q k^T scale) v over the last two axes; scale 1 / sqrt(size) by default.

    The fused kernel, except for bfloat16 on a CPU, where it is three times slower than its three
    products at these lengths (measured on AVX-512 without AMX).
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        return ((q * scale) @ k.transpose(-1, -2)).softmax(-1) @ v
    return nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)


class EncoderLayer(nn.Module):
    """Post-norm self-attention and feed-forward."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads)
        self.feedforward = _feedforward(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))

    def forward(self, x: Tensor, keep: int | None = None) -> Tensor:
        """(B, T, W) -> (B, keep or T, W)."""
        attended = self.attention(x) if keep is None else self.attention.first(x, keep)
        x = self.norms[0](x[:, :keep] + attended)
        x = self.norms[1](x + self.feedforward(x))
        return x


class DecoderLayer(nn.Module):
    """Post-norm self-attention, attention to the one latent token, feed-forward."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads)
        self.value = nn.Linear(config.latent, config.width)
        self.out = nn.Linear(config.width, config.width)
        self.feedforward = _feedforward(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(3))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """(1 or B, T, W), (B, L) -> (B, T, W)."""
        x = self.norms[0](x + self.attention(x))
        x = self.norms[1](x + self.out(self.value(z))[:, None])
        x = self.norms[2](x + self.feedforward(x))
        return x


class ActionVae(nn.Module):
    """Encoder q(z | a) = N(mu, diag sigma^2) and decoder of chunks of normalised actions."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = config.latent
        width = config.width
        self.embed = nn.Linear(config.action_size, width)
        self.latent_tokens = nn.Parameter(torch.randn(2, width))
        self.encoder_positions = nn.Parameter(torch.rand(config.horizon + 2, width))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_skips = _skips(config.encoder_layers, width)
        self.encoder_norm = nn.LayerNorm(width)
        linear = config.latent_head == "linear"
        self.mean_head = nn.Linear(width, config.latent) if linear else nn.Identity()
        self.log_variance_head = nn.Linear(width, config.latent) if linear else nn.Identity()
        self.decoder_positions = nn.Parameter(torch.rand(config.horizon, width))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_skips = _skips(config.decoder_layers, width)
        self.decoder_norm = nn.LayerNorm(width)
        self.reconstruct = nn.Linear(width, config.action_size)

    def encode(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, D) -> mu, log sigma^2, each (B, L)."""
        tokens = self.latent_tokens.expand(len(actions), -1, -1)
        x = torch.cat([tokens, self.embed(actions)], dim=1) + self.encoder_positions
        last = len(self.encoder) - 1
        stack: list[Tensor] = []
        for index, layer in enumerate(self.encoder):
            x = _merge_skip(x, stack, self.encoder_skips, index, len(self.encoder))
            x = layer(x, 2 if index == last else None)
            if index < len(self.encoder) // 2:
                stack.append(x)
        x = self.encoder_norm(x[:, :2])  # (B, 2, W)
        return self.mean_head(x[:, 0]), self.log_variance_head(x[:, 1])

    def decode(self, z: Tensor) -> Tensor:
        """(B, L) -> (B, H, D)."""
        x = self.decoder_positions[None]  # (1, H, W): queries are zeros + positions
        stack: list[Tensor] = []
        for index, layer in enumerate(self.decoder):
            x = _merge_skip(x, stack, self.decoder_skips, index, len(self.decoder))
            x = layer(x, z)
            if index < len(self.decoder) // 2:
                stack.append(x)
        actions: Tensor = self.reconstruct(self.decoder_norm(x))
        return actions

    def forward(self, actions: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode, sample with the given noise, decode.

        Args:
            actions: (B, H, D).
            eps: (B, L), standard normal.

        Returns:
            a_hat (B, H, D), z, mu, log sigma^2, each (B, L).
        """
        mean, log_variance = self.encode(actions)
        z = mean + torch.exp(0.5 * log_variance) * eps
        return self.decode(z), z, mean, log_variance


def _feedforward(config: VaeConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(config.width, config.feedforward),
        nn.GELU(),
        nn.Linear(config.feedforward, config.width),
    )


def _skips(layers: int, width: int) -> nn.ModuleList:
    """One merging map for each of the last layers // 2 layers."""
    return nn.ModuleList(nn.Linear(2 * width, width) for _ in range(layers // 2))


def _merge_skip(
    x: Tensor, stack: list[Tensor], skips: nn.ModuleList, index: int, layers: int
) -> Tensor:
    """Join the stored output of the mirrored input layer to an output layer's input."""
    first = layers - layers // 2
    if index < first:
        return x
    merged: Tensor = skips[index - first](torch.cat([x, stack.pop()], dim=-1))
    return merged
