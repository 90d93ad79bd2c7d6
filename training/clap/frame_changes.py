"""Frames are changed at random before the encoder sees them, both of a pair alike."""

import torch
from torch import Tensor

from training.configs.align_video import Augmentation
from training.data.augmentation import jitter

RANGE = 0.2
"""Largest deviation of brightness and contrast from 1 (released)."""
GREY = 0.1
"""Share of pairs without colour (released)."""
NOISE = 0.02
"""Deviation of each pixel (released)."""
MIXED = 1.0
"""Share of pairs with other colours."""
SHARPNESS, GAIN, OFFSET = 2.0, 0.6, 0.3
"""Of mixed colours: how clearly a channel becomes one of the old ones, the largest change of its
gain, and of its level."""
NEGATIVE = 0.5
"""Share of channels in which dark becomes bright: an arm may be darker than its table, or not."""


class FrameChanges:
    """Draws what is changed apart from the frames, so that a resumed run sees the same."""

    def __init__(self, kind: Augmentation) -> None:
        self.kind: Augmentation = kind

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Numbers (count, 16): brightness, contrast, saturation, mix 3 x 3, level 3, noise."""
        uniform = torch.rand(count, 10, generator=generator)
        factors = torch.ones(count, 3)
        factors[:, :2] += RANGE * (2.0 * uniform[:, :2] - 1.0)
        factors[:, 2] = (uniform[:, 2] >= GREY).float()
        mix = (SHARPNESS * torch.randn(count, 3, 3, generator=generator)).softmax(dim=-1)
        mix = mix * (1.0 + GAIN * (2.0 * uniform[:, 3:6, None] - 1.0))
        level = OFFSET * (2.0 * torch.rand(count, 3, generator=generator) - 1.0)
        negative = uniform[:, -3:] < NEGATIVE
        level += negative * mix.sum(dim=-1)
        mix[negative] *= -1.0
        usual = (uniform[:, 6] >= MIXED) | (self.kind == "released")
        mix[usual], level[usual] = torch.eye(3), torch.zeros(3)
        seed = torch.randint(2**20, (count, 1), generator=generator).float()
        return torch.cat([factors, mix.flatten(1), level, seed], dim=1)

    def apply(self, frames: Tensor, drawn: Tensor) -> Tensor:
        """(B, 2, 3, h, w) in [0, 1] and (B, 16) -> the same, changed."""
        if self.kind == "none":
            return frames
        drawn = drawn.to(frames.device)
        mix, level = drawn[:, 3:12].view(-1, 3, 3), drawn[:, 12:15]
        frames = torch.einsum("bij,btjhw->btihw", mix, frames) + level[:, None, :, None, None]
        factors = drawn[:, :3].repeat_interleave(2, dim=0)
        frames = jitter(frames.flatten(0, 1), factors).unflatten(0, frames.shape[:2])
        generator = torch.Generator(frames.device).manual_seed(int(drawn[0, 15]))
        noise = torch.randn(frames.shape, generator=generator, device=frames.device)
        return (frames + NOISE * noise).clamp(0.0, 1.0)
