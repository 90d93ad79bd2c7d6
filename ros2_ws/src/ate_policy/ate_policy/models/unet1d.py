"""The noise-predicting 1-D UNet of Diffusion Policy (Chi et al. 2023, arXiv 2303.04137).

Convolutions run over the ticks of a chunk; every residual block is modulated (FiLM, Perez et al.
2018) by one vector that holds the diffusion step and everything observed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ate_policy.models.sinusoids import sinusoids

GROUPS = 8
"""Groups of every GroupNorm (published)."""


class Film(nn.Module):
    """h -> (1 + gamma(c)) h + beta(c), per channel.

    gamma and beta are zero at first, so an untrained block passes h on unchanged.
    """

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """(B, C, T), (B, E) -> (B, C, T)."""
        gamma, beta = self.linear(nn.functional.mish(condition))[:, :, None].chunk(2, dim=1)
        return torch.addcmul(beta, 1.0 + gamma, hidden)


class ConvBlock(nn.Sequential):
    """Convolution over time, GroupNorm, Mish; the length stays."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__(
            nn.Conv1d(before, after, kernel, padding=kernel // 2),
            nn.GroupNorm(GROUPS, after),
            nn.Mish(),
        )


class ResidualBlock(nn.Module):
    """Two convolutions with FiLM between them, around a shortcut."""

    def __init__(self, before: int, after: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.first = ConvBlock(before, after, kernel)
        self.film = Film(condition, after)
        self.second = ConvBlock(after, after, kernel)
        self.shortcut = nn.Identity() if before == after else nn.Conv1d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, T), (B, E) -> (B, C', T)."""
        hidden = self.film(self.first(x), condition)
        return self.second(hidden) + self.shortcut(x)


class UNetStage(nn.Module):
    """Two residual blocks of one resolution."""

    def __init__(self, before: int, after: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.first = ResidualBlock(before, after, condition, kernel)
        self.second = ResidualBlock(after, after, condition, kernel)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, T), (B, E) -> (B, C', T)."""
        return self.second(self.first(x, condition), condition)


class UNet1d(nn.Module):
    """Chunk, step and condition -> prediction of the chunk's shape.

    Every stage but the last halves the number of ticks. A horizon that cannot be halved that
    often is padded with zeros at its end, as its convolutions pad it anyway, and cut again.
    """

    def __init__(
        self, size: int, condition: int, channels: Sequence[int], kernel: int, step_size: int
    ) -> None:
        """Build it.

        Args:
            size: Numbers per tick M.
            condition: Length of the condition C.
            channels: Channels of each stage.
            kernel: Odd width of the convolutions [ticks].
            step_size: Width of the embedding of the diffusion step.
        """
        super().__init__()
        self.step_size = step_size
        self.multiple = 2 ** (len(channels) - 1)
        self.step = nn.Sequential(
            nn.Linear(step_size, 4 * step_size), nn.Mish(), nn.Linear(4 * step_size, step_size)
        )
        embedded = step_size + condition
        befores = [size, *channels[:-1]]
        self.down = nn.ModuleList(
            UNetStage(before, after, embedded, kernel)
            for before, after in zip(befores, channels, strict=True)
        )
        self.shrink = nn.ModuleList(
            nn.Conv1d(width, width, 3, stride=2, padding=1) for width in channels[:-1]
        )
        self.middle = UNetStage(channels[-1], channels[-1], embedded, kernel)
        rising = list(zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True))
        self.up = nn.ModuleList(
            UNetStage(2 * before, after, embedded, kernel) for before, after in rising
        )
        self.grow = nn.ModuleList(
            nn.ConvTranspose1d(after, after, 4, stride=2, padding=1) for _, after in rising
        )
        self.leave = nn.Sequential(
            ConvBlock(channels[0], channels[0], kernel), nn.Conv1d(channels[0], size, 1)
        )

    def forward(self, noisy: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """Predict (B, H, M).

        Args:
            noisy: (B, H, M).
            step: (B,), diffusion step.
            condition: (B, C).
        """
        dtype = next(self.leave.parameters()).dtype
        waves = sinusoids(step, self.step_size, closed=True).to(dtype)
        embedded = torch.cat([self.step(waves), condition], dim=-1)
        horizon = noisy.shape[1]
        x = nn.functional.pad(noisy.mT.to(dtype), (0, -horizon % self.multiple))  # (B, M, T)
        skips = []
        for stage, shrink in zip(self.down, [*self.shrink, nn.Identity()], strict=True):
            x = stage(x, embedded)
            skips.append(x)
            x = shrink(x)
        x = self.middle(x, embedded)
        for stage, grow in zip(self.up, self.grow, strict=True):
            x = grow(stage(torch.cat([x, skips.pop()], dim=1), embedded))
        return self.leave(x)[:, :, :horizon].mT
