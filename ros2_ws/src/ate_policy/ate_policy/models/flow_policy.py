"""A small flow-matching policy over action chunks.

Flow convention (Lipman et al. 2023, as in the ATE paper): x = tau a + (1 - tau) eps with noise at
tau = 0 and the clean chunk a at tau = 1; velocity v = a - eps.

The network predicts the clean chunk a_hat and the velocity follows,
v = (a_hat - x) / (1 - tau). A network that predicts v directly must carry the whole noise of the
flattened chunk (320 numbers) through its width (256) and learns nothing useful.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ate_core.errors import CheckpointError
from ate_policy.models.image_encoder import ImageEncoder
from ate_policy.transforms import FEATURES_PER_OBJECT

MIN_REMAINING = 0.05
"""Lower bound of 1 - tau in the velocity: it is singular at tau = 1."""

TIME_FREQUENCIES = 16
"""Sines and cosines that embed tau."""


@dataclass(frozen=True, kw_only=True)
class FlowPolicyConfig:
    """Sizes of a flow policy; stored in its checkpoint."""

    horizon: int = 20
    """Actions per chunk H [ticks]."""
    action_size: int = 16
    """Numbers per action D."""
    state_size: int = 16
    """Numbers per measured state."""
    objects: int = 0
    """Object poses the policy reads; 0 for a policy that sees the scene through cameras."""
    cameras: tuple[str, ...] = ()
    """Keys of the images the policy reads, in order."""
    image_height: int = 72
    """Height of the image the network sees [px]."""
    image_width: int = 128
    """Width of the image the network sees [px]."""
    width: int = 256
    """Width of the residual blocks."""
    blocks: int = 3
    """Residual blocks."""
    steps: int = 10
    """Euler steps from noise to chunk."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for name in ("horizon", "action_size", "state_size", "width", "blocks", "steps"):
            if getattr(self, name) < 1:
                raise CheckpointError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.objects < 0:
            raise CheckpointError(f"objects is {self.objects}, must not be negative")
        object.__setattr__(self, "cameras", tuple(self.cameras))


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


class FlowPolicy(nn.Module):
    """Chunk of normalised actions from a normalised state and objects or images."""

    def __init__(self, config: FlowPolicyConfig) -> None:
        super().__init__()
        self.config = config
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
        self.enter = nn.Linear(flat + condition + 2 * TIME_FREQUENCIES, config.width)
        self.blocks = nn.ModuleList(ResidualBlock(config.width) for _ in range(config.blocks))
        self.leave = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, flat))
        frequencies = torch.pi * 2.0 ** torch.linspace(-1.0, 5.0, TIME_FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def condition(
        self, state: Tensor, environment: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        """Everything the chunk depends on, as one vector.

        Args:
            state: (B, S), normalised.
            environment: (B, 6 n), normalised; for a policy with objects.
            images: (B, cameras, 3, h, w), in [-0.5, 0.5]; for a policy with cameras.

        Returns:
            (B, C).
        """
        parts = [state]
        if self.config.objects:
            parts.append(environment)
        if self.images is None:
            return torch.cat(parts, dim=-1)
        return self.merge(torch.cat([*parts, self.images(images)], dim=-1))

    def forward(self, x: Tensor, tau: Tensor, condition: Tensor) -> Tensor:
        """Predict the clean chunk.

        Args:
            x: (B, H, D), noisy chunk.
            tau: (B,), 0 noise .. 1 clean.
            condition: (B, C).

        Returns:
            a_hat (B, H, D).
        """
        angles = tau[:, None] * self.frequencies  # (B, F)
        hidden = self.enter(torch.cat([x.flatten(1), condition, angles.sin(), angles.cos()], 1))
        for block in self.blocks:
            hidden = block(hidden)
        return self.leave(hidden).view_as(x)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Integrate the velocity from noise to a chunk with Euler steps.

        Args:
            condition: (B, C).
            noise: (B, H, D), standard normal.

        Returns:
            (B, H, D), normalised actions.
        """
        x, steps = noise, self.config.steps
        for step in range(steps):
            tau = x.new_full((len(x),), step / steps)
            x = x + velocity(self(x, tau, condition), x, tau) / steps
        return x


def velocity(a_hat: Tensor, x: Tensor, tau: Tensor) -> Tensor:
    """V = (a_hat - x) / (1 - tau), with 1 - tau bounded from below.

    Args:
        a_hat: (B, H, D), clean chunk.
        x: (B, H, D), noisy chunk.
        tau: (B,).
    """
    return (a_hat - x) / (1.0 - tau).clamp(min=MIN_REMAINING)[:, None, None]
