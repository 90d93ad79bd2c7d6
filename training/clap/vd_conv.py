"""Encoder and decoder of aligned video by convolutions: they know where a patch is from the start.

Attention has to learn the places of 144 patches, which takes more than some dozens of episodes.
"""

import torch
from torch import Tensor, nn

from training.clap.latent_space import LatentSpace
from training.clap.vd_config import VdVaeConfig

PLANES = 8
"""Maps of the frame's size that codes become."""
HIDDEN = 128
"""Numbers that the encoder keeps of a change."""

LEAST_CHANGE = 0.05
"""Added to the size of a change, in deviations of the robot's frames: noise must stay small."""


class ConvEncoder(nn.Module):
    """E_inv: the change between both frames beside the first of them, halved some times."""

    def __init__(self, config: VdVaeConfig) -> None:
        super().__init__()
        self.config = config
        width, rows, columns = config.width, config.rows, config.columns
        layers: list[nn.Module] = [_conv(2 * config.feature_size + 1, width), nn.GELU()]
        for _ in range(config.encoder_layers):
            layers += [_conv(width, width, stride=2), nn.GELU()]
            rows, columns = -(-rows // 2), -(-columns // 2)
        self.look = nn.Sequential(*layers, nn.Flatten())
        self.keep = nn.Sequential(
            nn.Linear(width * rows * columns, HIDDEN), nn.LayerNorm(HIDDEN), nn.GELU()
        )
        self.down_action = nn.Linear(HIDDEN, config.arms * config.action_numbers)
        self.down_env = nn.Linear(HIDDEN, config.env_codes * config.code_width)
        self.space = LatentSpace(config.codes, config.code_width, config.axes)

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, P, F) of t and t + H -> z_a (B, A, N_q, W), z_i (B, N_i, W)."""
        config = self.config
        seen = torch.cat([change_of(before, after), pattern_of(before)], dim=2)
        found = self.keep(self.look(_as_map(seen, config)))
        z_a = self.down_action(found).unflatten(1, (config.arms, config.action_numbers))
        z_i: Tensor = self.down_env(found).unflatten(1, (config.env_codes, config.code_width))
        if config.axes:
            return self.space.place(z_a), z_i
        return z_a.unflatten(2, (config.codes, config.code_width)), z_i


class ConvDecoder(nn.Module):
    """D_fwd: maps made of the codes, beside the frame t."""

    def __init__(self, config: VdVaeConfig) -> None:
        super().__init__()
        self.config = config
        codes = config.action_latents + config.env_codes
        self.spread = nn.Linear(codes * config.code_width, PLANES * config.patches)
        layers: list[nn.Module] = [_conv(config.feature_size + PLANES, config.width), nn.GELU()]
        for _ in range(config.decoder_layers - 1):
            layers += [_conv(config.width, config.width), nn.GELU()]
        self.draw = nn.Sequential(*layers, _conv(config.width, config.feature_size))

    def forward(self, start: Tensor, q_a: Tensor, q_i: Tensor) -> Tensor:
        """(B, P, F), (B, A, N_q, W), (B, N_i, W) -> features of t + H (B, P, F)."""
        config = self.config
        codes = torch.cat([q_a.flatten(1), q_i.flatten(1)], dim=1)
        maps = self.spread(codes).unflatten(1, (PLANES, config.rows, config.columns))
        made: Tensor = self.draw(torch.cat([_as_map(start, config), maps], dim=1))
        made = made.flatten(2).transpose(1, 2)
        return start + made if config.predicts == "change" else made


def change_of(before: Tensor, after: Tensor) -> Tensor:
    """What changed between two frames, over its size, and the logarithm of that.

    Background, light and colours of another body stay out of it for the most part.

    Args:
        before: (B, P, F).
        after: (B, P, F).

    Returns:
        (B, P, F + 1).
    """
    change, size = _over_its_size((after - before).float())
    return torch.cat([change, size.log().expand(-1, change.shape[1], 1)], dim=2)


def pattern_of(frame: Tensor) -> Tensor:
    """What stands where in a frame (B, P, F), about its mean and over its size.

    It tells whether the arm is what is bright: by the change alone, a dark arm that comes is a
    bright one that goes.
    """
    frame = frame.float()
    return _over_its_size(frame - frame.mean(dim=1, keepdim=True))[0]


def _over_its_size(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, P, F) over their root mean square, and that (B, 1, 1)."""
    size = features.square().mean(dim=(1, 2), keepdim=True).sqrt() + LEAST_CHANGE
    return features / size, size


def _as_map(features: Tensor, config: VdVaeConfig) -> Tensor:
    """(B, P, F), row by row -> (B, F, rows, columns)."""
    placed: Tensor = features.transpose(1, 2).unflatten(2, (config.rows, config.columns))
    return placed


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
