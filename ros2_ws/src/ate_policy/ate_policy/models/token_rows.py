"""Texts of different length as one tensor of token ids."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # what is kept may be trained with later
def pad_rows(
    rows: tuple[tuple[int, ...], ...], filler: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Bring rows to the length of the longest; recent batches stay on the device.

    Args:
        rows: Ids of B texts.
        filler: Id behind a shorter text.
        device: Where the network is.

    Returns:
        Ids (B, L) int64, and where they are valid (B, L) bool.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
    valid = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    return ids.to(device), valid.to(device)
