"""Camera images -> what a network sees; the same code in training and on the robot."""

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from ate_core.errors import LayoutError


def decode_jpeg(data: bytes, height: int, width: int) -> np.ndarray:
    """Decode a JPEG no larger than needed: the decoder halves while (height, width) still fits.

    Returns:
        (height', width', 3) uint8 RGB with height' >= height and width' >= width where the
        image is that large.
    """
    try:
        return simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError as error:
        raise LayoutError(
            f"an image of {len(data)} bytes is no JPEG ({error}): check the camera"
        ) from None


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an RGB image by area averaging.

    Args:
        image: (H, W, 3) uint8.
        height: Wanted height [px].
        width: Wanted width [px].

    Returns:
        (height, width, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise LayoutError(
            f"an image is {image.dtype} {image.shape}, must be uint8 (height, width, 3)"
        )
    if image.shape[:2] == (height, width):
        return image
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()[None]
    small = torch.nn.functional.interpolate(pixels, size=(height, width), mode="area")[0]
    return small.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def images_to_tensor(images: Tensor) -> Tensor:
    """(..., h, w, 3) uint8 -> (..., 3, h, w) float in [-0.5, 0.5]."""
    return images.movedim(-1, -3).float() / 255.0 - 0.5
