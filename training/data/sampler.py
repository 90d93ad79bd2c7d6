"""Random batches of normalised observations and chunks."""

import torch
from torch import Tensor

from ate_policy.images import images_to_tensor
from ate_policy.transforms import ChunkTransform
from training.configs.finetune import FinetuneConfig
from training.data.dataset import Demonstrations

DRAWS_PER_IMAGE = 8
"""Noisy chunks per observation of a vision policy: images cost more than chunks."""

STATE_BATCH, VISION_BATCH = 128, 256
"""Noisy chunks per step, unless the configuration says otherwise."""


class BatchSampler:
    """Draws ticks with replacement, and perturbs what was observed there.

    One generator decides ticks and perturbations, and draws the noise of the flow too: its state
    is all that a resumed run needs, and guidance does not touch it.
    """

    def __init__(
        self, data: Demonstrations, transform: ChunkTransform, config: FinetuneConfig
    ) -> None:
        self.generator = torch.Generator().manual_seed(config.seed)
        self.draws = DRAWS_PER_IMAGE if data.images is not None else 1
        usual = STATE_BATCH if data.images is None else VISION_BATCH
        self._count = max(1, (config.batch or usual) // self.draws)
        self._noise = config.input_noise
        self._shift = config.image_shift
        self._states = transform.state.apply(data.states)
        self._actions = transform.action.apply(data.actions)
        self._windows = data.windows
        self._images = data.images
        self._environment = (
            None if data.environment is None else transform.environment.apply(data.environment)
        )

    def draw(self) -> dict[str, Tensor]:
        """Observations (B / draws, ...) and chunks (B, H, D)."""
        rows = torch.randint(len(self._states), (self._count,), generator=self.generator)
        chunks = self._actions[self._windows[rows]]
        batch = {
            "state": self._perturb(self._states[rows]),
            "actions": chunks.repeat_interleave(self.draws, dim=0),
        }
        if self._environment is not None:
            batch["environment"] = self._perturb(self._environment[rows])
        if self._images is not None:
            batch["images"] = self._shifted(images_to_tensor(self._images[rows]))
        return batch

    def _perturb(self, values: Tensor) -> Tensor:
        noise = torch.randn(values.shape, generator=self.generator)
        return values + self._noise * noise

    def _shifted(self, images: Tensor) -> Tensor:
        """Move each observation's images by one random offset; edges are repeated."""
        reach = self._shift
        if reach == 0:
            return images
        offsets = torch.randint(0, 2 * reach + 1, (len(images), 2), generator=self.generator)
        height, width = images.shape[-2:]
        padded = torch.nn.functional.pad(images.flatten(0, 1), (reach,) * 4, mode="replicate")
        padded = padded.unflatten(0, images.shape[:2])
        return torch.stack(
            [
                one[..., y : y + height, x : x + width]
                for one, (y, x) in zip(padded, offsets.tolist(), strict=True)
            ]
        )
