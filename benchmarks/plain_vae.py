"""The action VAE as the paper draws it, built from torch's own modules, without any shortcut.

Structure of the released trainer's network: DETR-style post-norm layers on sequence-first tensors,
`nn.MultiheadAttention` with key-padding masks (its unfused form, which also returns the attention
weights), full cross-attention to the one latent token, all tokens through every layer, skips that
concatenate. `benchmarks/vae_training.py` times `training.vae` against it, and the tests demand
equal outputs and gradients of the two.
"""

import torch
from torch import Tensor, nn

from training.vae.model import ActionVae, VaeConfig


class PlainEncoderLayer(nn.Module):
    """Self-attention and feed-forward, post-norm."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(config.width, config.heads)
        self.linear1 = nn.Linear(config.width, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, config.width)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(T, B, W) with a padding mask (B, T), True where padded."""
        x = self.norm1(x + self.attention(x, x, x, key_padding_mask=mask)[0])
        x = self.norm2(x + self.linear2(nn.functional.gelu(self.linear1(x))))
        return x


class PlainDecoderLayer(nn.Module):
    """Self-attention, cross-attention to the latent token, feed-forward, post-norm."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(config.width, config.heads)
        self.cross = nn.MultiheadAttention(config.width, config.heads)
        self.linear1 = nn.Linear(config.width, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, config.width)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.norm3 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """(T, B, W) and memory (1, B, W)."""
        x = self.norm1(x + self.attention(x, x, x, key_padding_mask=mask)[0])
        x = self.norm2(x + self.cross(x, memory, memory)[0])
        x = self.norm3(x + self.linear2(nn.functional.gelu(self.linear1(x))))
        return x


class PlainVae(nn.Module):
    """Skip transformer with every token, mask and projection of the paper's structure.

    Args:
        config: Sizes; latent and width must be equal, as in the paper.
        positions: Rows of the learned positions; the released code has 500 and uses few.
    """

    def __init__(self, config: VaeConfig, positions: int = 500) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.embed = nn.Linear(config.action_size, width)
        self.latent_tokens = nn.Parameter(torch.randn(2, width))
        self.encoder_positions = nn.Parameter(torch.rand(positions, 1, width))
        self.decoder_positions = nn.Parameter(torch.rand(positions, 1, width))
        self.encoder = nn.ModuleList(
            PlainEncoderLayer(config) for _ in range(config.encoder_layers)
        )
        self.decoder = nn.ModuleList(
            PlainDecoderLayer(config) for _ in range(config.decoder_layers)
        )
        self.encoder_skips = nn.ModuleList(
            nn.Linear(2 * width, width) for _ in range(config.encoder_layers // 2)
        )
        self.decoder_skips = nn.ModuleList(
            nn.Linear(2 * width, width) for _ in range(config.decoder_layers // 2)
        )
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        linear = config.latent_head == "linear"
        self.mean_head = nn.Linear(width, config.latent) if linear else nn.Identity()
        self.log_variance_head = nn.Linear(width, config.latent) if linear else nn.Identity()
        self.reconstruct = nn.Linear(width, config.action_size)

    def encode(self, actions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, D), padding (B, H) -> mu, log sigma^2, each (B, L)."""
        x = self.embed(actions).permute(1, 0, 2)
        x = torch.cat([self.latent_tokens[:, None].repeat(1, len(actions), 1), x])
        mask = torch.cat([mask.new_zeros(len(actions), 2), mask], dim=1)
        x = x + self.encoder_positions[: len(x)]
        x = run_with_skips(self.encoder, self.encoder_skips, x, mask)
        x = self.encoder_norm(x)
        return self.mean_head(x[0]), self.log_variance_head(x[1])

    def decode(self, z: Tensor, mask: Tensor) -> Tensor:
        """(B, L), padding (B, H) -> (B, H, D)."""
        queries = z.new_zeros(mask.shape[1], len(z), z.shape[1])
        x = queries + self.decoder_positions[: len(queries)]
        x = run_with_skips(self.decoder, self.decoder_skips, x, z[None], mask)
        actions: Tensor = self.reconstruct(self.decoder_norm(x))
        return actions.permute(1, 0, 2)

    def forward(
        self, actions: Tensor, mask: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `ActionVae.forward`, with a padding mask (B, H)."""
        mean, log_variance = self.encode(actions, mask)
        z = mean + torch.exp(0.5 * log_variance) * eps
        return self.decode(z, mask), z, mean, log_variance


def run_with_skips(
    layers: nn.ModuleList, skips: nn.ModuleList, x: Tensor, *arguments: Tensor
) -> Tensor:
    """Run layers in order; each of the last half first joins the output of its mirror image."""
    half = len(layers) // 2
    stack: list[Tensor] = []
    for index, layer in enumerate(layers):
        if index >= len(layers) - half:
            skip = skips[index - (len(layers) - half)]
            x = skip(torch.cat([x, stack.pop()], dim=-1))
        x = layer(x, *arguments)
        if index < half:
            stack.append(x)
    return x


def counterparts(vae: ActionVae, plain: PlainVae) -> dict[str, tuple[nn.Parameter, slice]]:
    """Parameter of the plain network, and its rows, for each parameter name of ours."""
    everything, width = slice(None), vae.config.width
    layer_names = {
        "attention.project.weight": ("attention.in_proj_weight", everything),
        "attention.project.bias": ("attention.in_proj_bias", everything),
        "attention.out": ("attention.out_proj", everything),
        "value.weight": ("cross.in_proj_weight", slice(2 * width, None)),
        "value.bias": ("cross.in_proj_bias", slice(2 * width, None)),
        "out": ("cross.out_proj", everything),
        "feedforward.0": ("linear1", everything),
        "feedforward.2": ("linear2", everything),
        "norms.0": ("norm1", everything),
        "norms.1": ("norm2", everything),
        "norms.2": ("norm3", everything),
    }
    found = {}
    for name, _ in vae.named_parameters():
        theirs, rows = name, everything
        side, _, rest = name.partition(".")
        if side in ("encoder", "decoder"):
            index, _, inner = rest.partition(".")
            key = next(k for k in layer_names if inner == k or inner.startswith(f"{k}."))
            replacement, rows = layer_names[key]
            theirs = f"{side}.{index}.{replacement}{inner.removeprefix(key)}"
        elif name.endswith("_positions"):
            rows = slice(len(vae.get_parameter(name)))
        found[name] = plain.get_parameter(theirs), rows
    return found


@torch.no_grad()
def copy_weights(vae: ActionVae, plain: PlainVae) -> None:
    """Give the plain network the weights of ours; its dead maps keep their own."""
    for name, (theirs, rows) in counterparts(vae, plain).items():
        theirs[rows].copy_(vae.get_parameter(name).view_as(theirs[rows]))
