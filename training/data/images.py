"""Camera images of the training data: all of them in memory, or decoded when they are drawn."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ate_policy.images import decode_jpeg, fit_image
from ate_policy.models.interface import ImageFit

DECODERS = 8
"""Threads that decode; the decoder releases the interpreter."""


class ImageStore:
    """JPEGs of N ticks by K cameras, shrunk to the size that the network sees."""

    def __init__(
        self,
        jpegs: Sequence[Sequence[Sequence[bytes]]],
        first: Sequence[int],
        *,
        height: int,
        width: int,
        fit: ImageFit,
        memory_gb: float,
    ) -> None:
        """Decode everything now if it fits.

        Args:
            jpegs: Per episode, per camera, its images; may be read on access.
            first: Per episode, the index of the image that belongs to its first tick.
            height: Of the decoded image [px].
            width: Of the decoded image [px].
            fit: How it is brought to that size.
            memory_gb: Decode all at once if this is enough, else on every access.
        """
        self._jpegs = jpegs
        self._size = (height, width)
        self._fit: ImageFit = fit
        ticks = [torch.arange(f, len(c[0])) for c, f in zip(jpegs, first, strict=True)]
        self._tick = torch.cat(ticks)
        self._episode = torch.cat([torch.full((len(t),), i) for i, t in enumerate(ticks)])
        self.shape = (len(self._tick), len(jpegs[0]), height, width, 3)
        self._decoded: Tensor | None = None
        if torch.Size(self.shape).numel() <= 1e9 * memory_gb:
            parts = []
            for episode, cameras in enumerate(jpegs):
                read = [camera[:] for camera in cameras]  # at once: a file is opened per access
                parts.append(self._decode([[c[t] for c in read] for t in ticks[episode]]))
            self._decoded = torch.cat(parts)

    def __len__(self) -> int:
        """Ticks N."""
        return self.shape[0]

    def rows(self, rows: Tensor) -> Tensor:
        """(B,) ticks -> (B, K, h, w, 3) uint8."""
        if self._decoded is not None:
            return self._decoded[rows]
        places = zip(self._episode[rows].tolist(), self._tick[rows].tolist(), strict=True)
        return self._decode([[c[tick] for c in self._jpegs[episode]] for episode, tick in places])

    def _decode(self, jpegs: list[list[bytes]]) -> Tensor:
        """Images of some ticks, per tick one by camera."""
        images = torch.empty((len(jpegs), *self.shape[1:]), dtype=torch.uint8)

        def decode(row: int) -> None:
            for column, data in enumerate(jpegs[row]):
                image = fit_image(decode_jpeg(data, *self._size), *self._size, self._fit)
                images[row, column] = torch.from_numpy(image)

        with ThreadPoolExecutor(DECODERS) as pool:
            list(pool.map(decode, range(len(jpegs))))
        return images
