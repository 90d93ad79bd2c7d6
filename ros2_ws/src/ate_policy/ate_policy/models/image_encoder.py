"""One small convolutional network for all cameras."""

import torch
from torch import Tensor, nn

CHANNELS = (24, 48, 64, 64)
"""Channels after each stride-2 convolution."""


class ImageEncoder(nn.Module):
    """Images -> where each channel is active, and how much.

    The network is shared by the cameras; an embedding tells it which camera it looks through.
    Spatial soft-argmax keeps positions, which a mean would lose.
    """

    def __init__(self, cameras: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for index, channels in enumerate(CHANNELS):
            kernel = 5 if index == 0 else 3
            layers += [
                nn.Conv2d(before, channels, kernel, stride=2, padding=kernel // 2),
                nn.GroupNorm(8, channels),
                nn.SiLU(),
            ]
            before = channels
        self.layers = nn.Sequential(*layers)
        self.camera = nn.Parameter(torch.empty(cameras, before))
        nn.init.normal_(self.camera, std=0.02)
        self.channels = before
        self.size = cameras * 3 * before

    def maps(self, images: Tensor) -> Tensor:
        """(B, cameras, 3, h, w) -> (B, cameras, C, h / 16, w / 16), rounded up."""
        batch, cameras = images.shape[:2]
        maps = self.layers(images.flatten(0, 1)).unflatten(0, (batch, cameras))
        return maps + self.camera[:, :, None, None]

    def forward(self, images: Tensor) -> Tensor:
        """(B, cameras, 3, h, w) -> (B, cameras * 3 * channels)."""
        maps = self.maps(images)
        return torch.cat([spatial_soft_argmax(maps), maps.mean((-2, -1))], dim=-1).flatten(1)


def spatial_soft_argmax(maps: Tensor) -> Tensor:
    """Where each map is active: (..., C, h, w) -> (..., 2 C), x and y in [-1, 1].

    It is the mean position under the softmax of the map (Levine et al. 2016).
    """
    height, width = maps.shape[-2:]
    weight = maps.flatten(-2).float().softmax(-1).view_as(maps)
    rows = torch.linspace(-1.0, 1.0, height, device=maps.device)
    columns = torch.linspace(-1.0, 1.0, width, device=maps.device)
    y = (weight.sum(-1) * rows).sum(-1)
    x = (weight.sum(-2) * columns).sum(-1)
    return torch.cat([x, y], dim=-1).to(maps.dtype)
