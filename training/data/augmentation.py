"""Camera images are changed at random while a policy learns from them, on the network's device.

What is random is drawn apart from the images: a resumed run, and every process of one, sees the
same changes.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ate_core.camera_config import WORLD_MOUNT
from ate_core.contract import Cell
from ate_policy.models.entry import ImageAugmentation

KEPT = 0.95
"""Edge of the crop in edges of the image (openpi)."""
LARGEST_ANGLE = math.radians(5.0)
"""Largest rotation to either side (openpi)."""
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5
"""Largest deviation of each factor from 1 (openpi)."""


class Augmentation(Protocol):
    """Changes images in two steps: numbers first, then images."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Random numbers for `count` observations, one row each; None if there are none."""

    def apply(self, images: Tensor, drawn: Tensor | None) -> Tensor:
        """Change images (B, K, 3, h, w) in [-0.5, 0.5] by the numbers drawn for them."""


class Shift:
    """All images of an observation move by one offset, edges are repeated."""

    def __init__(self, pixels: int) -> None:
        """Move by at most `pixels` [px]; 0: not at all."""
        self._pixels = pixels

    def draw(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Corners of the moved images in the padded ones, (B, 2) [px]."""
        if not self._pixels:
            return None
        return torch.randint(0, 2 * self._pixels + 1, (count, 2), generator=generator)

    def apply(self, images: Tensor, drawn: Tensor | None) -> Tensor:
        """See `Augmentation`."""
        if drawn is None:
            return images
        height, width = images.shape[-2:]
        padded = functional.pad(
            images.flatten(0, 1), (self._pixels,) * 4, mode="replicate"
        ).unflatten(0, images.shape[:2])
        return torch.stack(
            [
                one[..., y : y + height, x : x + width]
                for one, (y, x) in zip(padded, drawn.tolist(), strict=True)
            ]
        )


class Openpi:
    """Crop, rotation and colour of every image by itself.

    As `preprocess_observation_pytorch` of Physical-Intelligence/openpi, which draws once for a
    whole batch. Crop and rotation are one bilinear reading here, so images blur less.
    """

    def __init__(self, on_arm: Sequence[bool]) -> None:
        """Change images of cameras, each of which an arm carries or not.

        Those on an arm are neither cropped nor turned, as in openpi.
        """
        self._count = len(on_arm)
        self._standing = [index for index, carried in enumerate(on_arm) if not carried]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Place of the crop (2), angle, brightness, contrast, saturation: (B, K, 6) in [0, 1)."""
        return torch.rand(count, self._count, 6, generator=generator)

    def apply(self, images: Tensor, drawn: Tensor | None) -> Tensor:
        """See `Augmentation`."""
        if drawn is None:
            return images
        drawn = 2.0 * drawn.to(images.device) - 1.0
        images = images + 0.5
        if self._standing:
            moved = drawn[:, self._standing].flatten(0, 1)
            images[:, self._standing] = crop_and_turn(
                images[:, self._standing].flatten(0, 1),
                KEPT,
                (1.0 - KEPT) * moved[:, :2],
                LARGEST_ANGLE * moved[:, 2],
            ).unflatten(0, (len(images), -1))
        spread = drawn.new_tensor([BRIGHTNESS, CONTRAST, SATURATION])
        factors = (1.0 + spread * drawn[..., 3:]).flatten(0, 1)
        changed: Tensor = jitter(images.flatten(0, 1), factors).unflatten(0, images.shape[:2])
        return changed - 0.5


def cameras_on_arms(cell: Cell, keys: Sequence[str]) -> list[bool]:
    """Whether an arm carries the camera of each key.

    A cell that does not say where a camera is has it on an arm if its key says wrist.
    """
    views = {camera.key: camera.view for camera in cell.cameras.values()}
    found = [(key, views.get(key)) for key in keys]
    return ["wrist" in key if view is None else view.mount != WORLD_MOUNT for key, view in found]


def make_augmentation(
    kind: ImageAugmentation, cell: Cell, cameras: Sequence[str], shift: int
) -> Augmentation:
    """The augmentation of a run.

    Args:
        kind: Which one.
        cell: Where the images were recorded.
        cameras: Keys of the images, in order.
        shift: Largest shift of `shift` [px].
    """
    if kind == "openpi":
        return Openpi(cameras_on_arms(cell, cameras))
    return Shift(shift if kind == "shift" else 0)


def crop_and_turn(images: Tensor, kept: float, centre: Tensor, angle: Tensor) -> Tensor:
    """Cut out a part, enlarge it to the image's size and rotate that, black outside.

    A pixel of the result at p, in pixels from the middle, shows the image at
    kept R(angle) p + centre: positive angles turn the picture anticlockwise.

    Args:
        images: (N, 3, h, w) in [0, 1].
        kept: Edge of the part in edges of the image.
        centre: (N, 2) middle of the part, x right and y down, from -1 to 1 over the image.
        angle: (N,) [rad].
    """
    height, width = images.shape[-2:]
    cos, sin = angle.cos(), angle.sin()
    still = torch.zeros_like(angle)
    turn = torch.stack(
        [
            torch.stack([cos, -sin * height / width, still], dim=-1),
            torch.stack([sin * width / height, cos, still], dim=-1),
        ],
        dim=-2,
    )  # (N, 2, 3), on coordinates from -1 to 1
    place = functional.affine_grid(turn, list(images.shape), align_corners=False)  # (N, h, w, 2)
    inside = (place.abs() <= 1.0).all(-1)[:, None]
    place = kept * place + centre[:, None, None]
    return functional.grid_sample(images, place, "bilinear", "border", False) * inside


def jitter(images: Tensor, factors: Tensor) -> Tensor:
    """Change brightness, contrast about the mean and saturation about grey, in this order.

    Args:
        images: (N, 3, h, w) in [0, 1].
        factors: (N, 3) of brightness, contrast and saturation; 1 changes nothing.
    """
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    images = brightness * images
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + contrast * (images - mean)
    grey = images.mean(1, keepdim=True)
    return (grey + saturation * (images - grey)).clamp(0.0, 1.0)
