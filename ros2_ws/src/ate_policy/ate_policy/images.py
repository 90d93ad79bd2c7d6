"""Camera images -> what a network sees; the same code in training and on the robot."""

from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from ate_core.errors import LayoutError
from ate_policy.models.interface import ImageFit

GREY = 127
"""SigLIP's mean, with which RDT pads."""


def decode_jpeg(data: bytes, height: int, width: int) -> np.ndarray:
    """Decode a JPEG no larger than needed: the decoder halves while (height, width) still fits.

    Returns:
        (height', width', 3) uint8 RGB with height' >= height and width' >= width where the
        image is that large.
    """
    try:
        image: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError as error:
        raise LayoutError(
            f"an image of {len(data)} bytes is no JPEG ({error}): check the camera"
        ) from None
    return image


def fit_image(image: np.ndarray, height: int, width: int, fit: ImageFit) -> np.ndarray:
    """Bring an RGB image (H, W, 3) uint8 to (height, width, 3).

    Args:
        image: Any size.
        height: Wanted height [px].
        width: Wanted width [px].
        fit: stretch: area averaging, the aspect is not kept; pad: bilinear, the aspect is kept
            and the rest is black, centred (openpi's resize_with_pad); pad_grey: the rest is grey.
    """
    if fit == "stretch":
        return resize_image(image, height, width)
    return pad_image(image, height, width, GREY if fit == "pad_grey" else 0)


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an RGB image by area averaging.

    Args:
        image: (H, W, 3) uint8.
        height: Wanted height [px].
        width: Wanted width [px].

    Returns:
        (height, width, 3) uint8.
    """
    _check(image)
    if image.shape[:2] == (height, width):
        return image
    return _interpolate(image, height, width, mode="area")


def pad_image(image: np.ndarray, height: int, width: int, level: int = 0) -> np.ndarray:
    """Resize with its aspect kept and centre it on one level, (height, width, 3) uint8."""
    _check(image)
    ratio = max(image.shape[0] / height, image.shape[1] / width)
    inner = max(1, int(image.shape[0] / ratio)), max(1, int(image.shape[1] / ratio))
    small = image
    if image.shape[:2] != inner:
        small = _interpolate(image, *inner, mode="bilinear", antialias=ratio > 1.0)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    padded = np.full((height, width, 3), level, np.uint8)
    padded[top : top + inner[0], left : left + inner[1]] = small
    return padded


def images_to_tensor(images: Tensor) -> Tensor:
    """(..., h, w, 3) uint8 -> (..., 3, h, w) float in [-0.5, 0.5]."""
    return images.movedim(-1, -3).float() / 255.0 - 0.5


def _interpolate(image: np.ndarray, height: int, width: int, **mode: Any) -> np.ndarray:
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()[None]
    small = torch.nn.functional.interpolate(pixels, size=(height, width), **mode)[0]
    return small.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _check(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise LayoutError(
            f"an image is {image.dtype} {image.shape}, must be uint8 (height, width, 3)"
        )
