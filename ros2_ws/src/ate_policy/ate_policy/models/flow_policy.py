"""A small flow-matching policy over action chunks.

Flow convention (Lipman et al. 2023, as in the ATE paper): x = tau a + (1 - tau) eps with noise at
tau = 0 and the clean chunk a at tau = 1; velocity v = a - eps.

The network predicts the clean chunk a_hat and the velocity follows,
v = (a_hat - x) / (1 - tau). A network that predicts v directly must carry the whole noise of the
flattened chunk (320 numbers) through its width (256) and learns nothing useful.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from ate_policy.models.entry import SCRATCH, PolicyEntry, PolicyOptions, PolicyPreset
from ate_policy.models.image_encoder import ImageEncoder
from ate_policy.models.inpainting import Inpainting, clean_rows, guided_estimate
from ate_policy.models.interface import ChunkModel, Inputs, PolicyConfig
from ate_policy.noise import FlowProcess
from ate_policy.transforms import FEATURES_PER_OBJECT

MIN_REMAINING = 0.05
"""Lower bound of 1 - tau in the velocity: it is singular at tau = 1."""

TIME_FREQUENCIES = 16
"""Sines and cosines that embed tau."""


@dataclass(frozen=True, kw_only=True)
class FlowPolicyConfig(PolicyConfig):
    """Sizes of a flow policy; stored in its checkpoint."""

    takes_prefix: ClassVar[bool] = True
    width: int = 256
    """Width of the residual blocks."""
    blocks: int = 3
    """Residual blocks."""
    steps: int = 10
    """Euler steps from noise to chunk."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        super().__post_init__()
        self.require_positive("width", "blocks", "steps")


@dataclass(frozen=True, kw_only=True)
class FlowOptions(PolicyOptions):
    """Small flow-matching network of residual blocks: the quickest to train."""


PRESETS = {
    "tiny": PolicyPreset(sizes={"width": 64, "blocks": 1}),
    "small": PolicyPreset(),
    "full": PolicyPreset(recipe_cameras=SCRATCH),
}
"""No size of it is published: full is small, trained with one noise per observation."""


class ResidualBlock(nn.Module):
    """x + MLP(LayerNorm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, W) -> (B, W)."""
        return x + self.outer(nn.functional.silu(self.inner(self.norm(x))))


class FlowPolicy(ChunkModel):
    """Chunk of normalised actions from a normalised state and objects or images."""

    config: FlowPolicyConfig
    continues = True
    frequencies: Tensor

    def __init__(self, config: FlowPolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.process = FlowProcess(prediction="sample")
        flat = config.horizon * config.action_size
        plain = config.state_size + FEATURES_PER_OBJECT * config.objects
        self.images = ImageEncoder(len(config.cameras)) if config.cameras else None
        if self.images is None:
            self.merge = None
            condition = plain
        else:
            condition = config.width
            self.merge = nn.Sequential(
                nn.Linear(plain + self.images.size, config.width),
                nn.SiLU(),
                nn.Linear(config.width, config.width),
            )
        told = config.horizon if config.max_delay else 0  # which rows are clean
        self.enter = nn.Linear(flat + condition + 2 * TIME_FREQUENCIES + told, config.width)
        self.blocks = nn.ModuleList(ResidualBlock(config.width) for _ in range(config.blocks))
        self.leave = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, flat))
        frequencies = torch.pi * 2.0 ** torch.linspace(-1.0, 5.0, TIME_FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def condition(self, inputs: Inputs) -> Tensor:
        """Everything the chunk depends on, as one vector (B, C)."""
        if self.images is None or self.merge is None:
            return inputs.vector()
        seen = self.images(inputs.camera_images())
        return self.merge(torch.cat([inputs.vector(), seen], dim=-1))

    def forward(self, noisy: Tensor, level: Tensor, inputs: Inputs) -> Tensor:
        """Predict the clean chunk a_hat (R B, H, D).

        Args:
            noisy: (R B, H, D).
            level: tau (R B,), 0 noise .. 1 clean.
            inputs: B observations.
        """
        condition = self.condition(inputs)
        repeats = len(noisy) // len(condition)
        condition = condition.repeat_interleave(repeats, dim=0)
        if not self.config.max_delay:
            return self._denoise(noisy, level, condition)
        prefix = inputs.prefix
        if prefix is None:
            prefix = torch.zeros(len(inputs.state), dtype=torch.long, device=noisy.device)
        return self._denoise(
            noisy, level, self._told(condition, prefix.repeat_interleave(repeats, dim=0))
        )

    def _told(self, condition: Tensor, prefix: Tensor) -> Tensor:
        """A condition (B, C) that also says which rows are clean, of prefixes (B,)."""
        rows = clean_rows(prefix, self.config.horizon, condition.device)[..., 0]
        return torch.cat([condition, rows.to(condition.dtype)], dim=1)

    def sample(self, inputs: Inputs, noise: Tensor, old: Inpainting | None = None) -> Tensor:
        """Integrate the velocity from noise (B, H, D) to a chunk with Euler steps."""
        condition = self.condition(inputs)
        if self.config.max_delay:
            prefix = torch.full((len(noise),), old.prefix if old else 0, device=noise.device)
            condition = self._told(condition, prefix)
        x, steps = noise, self.config.steps
        for step in range(steps):
            x = old.give(x) if old else x
            tau = x.new_full((len(x),), step / steps)
            estimate = partial(self._denoise, tau=tau, condition=condition)
            clean = guided_estimate(estimate, x, tau, 1.0 - tau, old)
            x = x + velocity(clean, x, tau) / steps
        return old.give(x) if old else x

    def _denoise(self, x: Tensor, tau: Tensor, condition: Tensor) -> Tensor:
        angles = tau[:, None] * self.frequencies  # (B, F)
        joined = torch.cat([x.flatten(1), condition, angles.sin(), angles.cos()], 1)
        hidden = self.enter(joined.to(self.enter.weight.dtype))
        for block in self.blocks:
            hidden = block(hidden)
        return self.leave(hidden).view_as(x)


def velocity(a_hat: Tensor, x: Tensor, tau: Tensor) -> Tensor:
    """V = (a_hat - x) / (1 - tau), with 1 - tau bounded from below.

    Args:
        a_hat: (B, H, D), clean chunk.
        x: (B, H, D), noisy chunk.
        tau: (B,).
    """
    return (a_hat - x) / (1.0 - tau).clamp(min=MIN_REMAINING)[:, None, None]


ENTRY = PolicyEntry(
    config=FlowPolicyConfig, build=FlowPolicy, options=FlowOptions, presets=PRESETS
)
