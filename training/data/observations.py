"""What a network is shown of a tick: normalised, and perturbed at random."""

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from ate_policy.images import images_to_tensor
from ate_policy.models.interface import Inputs
from ate_policy.transforms import ChunkTransform, Normalise
from training.data.augmentation import Augmentation
from training.data.images import ImageStore
from training.data.micro_batch import MicroBatch


class Seen(Protocol):
    """Ticks of episodes as they were observed, in robot units."""

    @property
    def states(self) -> Tensor:
        """(N, S)."""

    @property
    def environment(self) -> Tensor | None:
        """(N, 6 n) object features; None: there are none."""

    @property
    def images(self) -> ImageStore | None:
        """Cameras of all ticks; None: there are none."""

    def instructions_of(self, rows: Tensor) -> tuple[str, ...]:
        """Instruction of each tick (B,)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObservationDraw:
    """Which ticks are shown, and all that is random in how."""

    rows: Tensor
    """(B,) ticks."""
    state_noise: Tensor
    """(B, S)."""
    environment_noise: Tensor | None
    """(B, 6 n)."""
    images: Tensor | None
    """(B, ...) changes of the images, as their augmentation draws them."""


class Observations:
    """Network inputs of ticks."""

    def __init__(
        self,
        seen: Seen,
        transform: ChunkTransform,
        *,
        input_noise: float,
        augmentation: Augmentation | None,
    ) -> None:
        """Normalise all ticks.

        Args:
            seen: In robot units.
            transform: Of the policy.
            input_noise: Noise on state and object features, in units of their std.
            augmentation: Changes images at random; None: they stay.
        """
        self._seen, self._augmentation = seen, augmentation
        self._states = transform.state.apply(seen.states)
        self._state_noise = input_noise * _unit(seen.states, transform.state)
        self._environment: Tensor | None = None
        if seen.environment is not None and transform.environment is not None:
            self._environment = transform.environment.apply(seen.environment)
            self._object_noise = input_noise * _unit(seen.environment, transform.environment)

    def __len__(self) -> int:
        """Ticks N."""
        return len(self._states)

    def draw(self, rows: Tensor, generator: torch.Generator) -> ObservationDraw:
        """Random numbers of how the ticks (B,) are shown; the same on every process."""
        count = len(rows)
        state_noise = torch.randn(count, self._states.shape[1], generator=generator)
        environment_noise = images = None
        if self._environment is not None:
            environment_noise = torch.randn(count, self._environment.shape[1], generator=generator)
        if self._seen.images is not None and self._augmentation is not None:
            images = self._augmentation.draw(count, generator)
        return ObservationDraw(
            rows=rows, state_noise=state_noise, environment_noise=environment_noise, images=images
        )

    def inputs(
        self, draw: ObservationDraw, micro_batch: MicroBatch, device: torch.device
    ) -> Inputs:
        """The observations of one micro-batch of a draw, on a device."""
        rows = micro_batch.of(draw.rows)
        noise = self._state_noise * micro_batch.of(draw.state_noise)
        return Inputs(
            state=(self._states[rows] + noise).to(device),
            environment=self._objects(draw, micro_batch, device),
            images=self._images(draw, micro_batch, device),
            instructions=self._seen.instructions_of(rows),
        )

    def _objects(
        self, draw: ObservationDraw, micro_batch: MicroBatch, device: torch.device
    ) -> Tensor | None:
        """(B, 6 n)."""
        if self._environment is None or draw.environment_noise is None:
            return None
        noise = self._object_noise * micro_batch.of(draw.environment_noise)
        return (self._environment[micro_batch.of(draw.rows)] + noise).to(device)

    def _images(
        self, draw: ObservationDraw, micro_batch: MicroBatch, device: torch.device
    ) -> Tensor | None:
        """(B, K, 3, h, w)."""
        if self._seen.images is None:
            return None
        images = images_to_tensor(self._seen.images.rows(micro_batch.of(draw.rows)).to(device))
        if self._augmentation is None:
            return images
        drawn = None if draw.images is None else micro_batch.of(draw.images)
        return self._augmentation.apply(images, drawn)


def _unit(values: Tensor, transform: Normalise) -> Tensor:
    """One deviation in model units: that of the ticks (N, D) where they are not normalised."""
    statistics = transform.statistics
    if set(statistics.mean) == {0.0} and set(statistics.std) == {1.0}:
        return values.std(dim=0, correction=0)
    return torch.ones(())
