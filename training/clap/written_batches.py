"""Random batches for a token policy: observations, and the codes that it is to write."""

import dataclasses

import torch
from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import UsageError
from ate_policy.models.interface import Inputs
from ate_policy.transforms import ChunkTransform
from training.clap.watched_windows import WatchedWindows
from training.data.augmentation import Augmentation, cameras_on_arms
from training.data.corrections import batch_weights
from training.data.dataset import Demonstrations
from training.data.micro_batch import MicroBatch
from training.data.observations import ObservationDraw, Observations, Seen
from training.data.sampler import draw_rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrittenDraw:
    """All that is random in one optimiser step."""

    seen: ObservationDraw
    """Of the demonstrations, the first ones of the batch."""
    watched: ObservationDraw | None
    """Of windows without actions, behind them; None: there are none."""
    dropped: Tensor | None
    """(B, K) pictures that are replaced by another view; None: none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrittenBatch:
    """What one forward pass learns from."""

    inputs: Inputs
    """B observations with the codes of their chunks."""
    weight: Tensor | None = None
    """(B,) of each chunk in the loss, mean 1 over the whole batch; None: all are equal."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything in it by name, for the record of a broken step."""
        named = {**vars(self.inputs), "weight": self.weight}
        return {name: value for name, value in named.items() if isinstance(value, Tensor)}


class WristDropout:
    """Pictures of wrist cameras are replaced at random by that of a camera that stands.

    The released code does so with p = 0.5, so that the policy does not look at the wrists alone.
    """

    def __init__(self, probability: float, cell: Cell, cameras: tuple[str, ...]) -> None:
        """Find the cameras.

        Args:
            probability: Of each picture.
            cell: Says which cameras are at a wrist.
            cameras: Keys of the images, in the order of the policy.

        Raises:
            UsageError: there is no camera that stands, or none at a wrist.
        """
        self._wrists = torch.tensor(cameras_on_arms(cell, cameras))
        if self._wrists.all() or not self._wrists.any():
            raise UsageError(
                f"image_dropout is {probability}, and of the cameras {', '.join(cameras)} "
                f"{'none stands' if self._wrists.all() else 'none is at a wrist'}: leave it out, "
                "or give --images.cameras with both"
            )
        self._probability, self._source = probability, int((~self._wrists).nonzero()[0])

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Which pictures are dropped, (count, K) bool."""
        drawn = torch.rand(count, len(self._wrists), generator=generator)
        return (drawn < self._probability) & self._wrists

    def apply(self, images: Tensor, dropped: Tensor) -> Tensor:
        """Images (B, K, 3, h, w) with the standing camera's in the place of dropped ones."""
        mask = dropped.to(images.device)[:, :, None, None, None]
        return torch.where(mask, images[:, self._source, None], images)


class CodeSampler:
    """Draws ticks with replacement, perturbs what was observed there, and brings their codes.

    One generator decides everything: its state is all that a resumed run needs.
    """

    def __init__(
        self,
        data: Demonstrations,
        codes: Tensor,
        transform: ChunkTransform,
        *,
        batch: int,
        input_noise: float = 0.0,
        augmentation: Augmentation | None = None,
        dropout: WristDropout | None = None,
        watched: WatchedWindows | None = None,
        share: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Normalise what was observed.

        Args:
            data: Demonstrations in robot units.
            codes: (N, L) of the chunk of each tick.
            transform: Of the policy.
            batch: Chunks per optimiser step, over all processes.
            input_noise: Noise on state and object features, in units of their std.
            augmentation: Changes images at random; None: they stay.
            dropout: Replaces pictures of wrist cameras; None: they stay.
            watched: Windows without actions; None: there are none.
            share: Part of a batch that is drawn from them.
            seed: Of the generator.
        """
        self.generator = torch.Generator().manual_seed(seed)
        self._data, self._codes, self._batch, self._dropout = data, codes, batch, dropout

        def shown(seen: Seen) -> Observations:
            return Observations(
                seen, transform, input_noise=input_noise, augmentation=augmentation
            )

        self._observations, self._watched = shown(data), watched
        self._watched_observations = None if watched is None else shown(watched)
        self._watched_count = 0 if watched is None else part_of(batch, share)

    def draw(self) -> WrittenDraw:
        """Random numbers of the next step; the same on every process."""
        rows = draw_rows(self._data, self._batch - self._watched_count, self.generator)
        seen, watched = self._observations.draw(rows, self.generator), None
        if self._watched is not None and self._watched_observations is not None:
            rows = self._watched.draw(self._watched_count, self.generator)
            watched = self._watched_observations.draw(rows, self.generator)
        dropped = None
        if self._dropout is not None:
            dropped = self._dropout.draw(self._batch, self.generator)
        return WrittenDraw(seen=seen, watched=watched, dropped=dropped)

    def load(
        self, draw: WrittenDraw, micro_batch: MicroBatch, device: torch.device
    ) -> WrittenBatch:
        """Observations and codes of one micro-batch of a draw, on a device."""
        inputs = self._inputs(draw, micro_batch, device)
        if self._dropout is not None and inputs.images is not None and draw.dropped is not None:
            images = self._dropout.apply(inputs.images, micro_batch.of(draw.dropped))
            inputs = dataclasses.replace(inputs, images=images)
        return WrittenBatch(inputs=inputs, weight=self._weight(draw, micro_batch, device))

    def _inputs(self, draw: WrittenDraw, micro_batch: MicroBatch, device: torch.device) -> Inputs:
        """Observations with codes, those of demonstrations before the others."""
        parts, border = [], self._batch - self._watched_count
        mine = dataclasses.replace(micro_batch, end=min(micro_batch.end, border))
        if mine.begin < mine.end:
            seen = self._observations.inputs(draw.seen, mine, device)
            codes = self._codes[mine.of(draw.seen.rows)].to(device)
            parts.append(dataclasses.replace(seen, codes=codes))
        theirs = dataclasses.replace(
            micro_batch, begin=max(micro_batch.begin - border, 0), end=micro_batch.end - border
        )
        if self._watched is not None and draw.watched is not None and theirs.begin < theirs.end:
            assert self._watched_observations is not None  # as there are windows
            seen = self._watched_observations.inputs(draw.watched, theirs, device)
            codes = self._watched.codes[theirs.of(draw.watched.rows)].to(device)
            parts.append(dataclasses.replace(seen, codes=codes))
        return parts[0] if len(parts) == 1 else joined(*parts)

    def _weight(
        self, draw: WrittenDraw, micro_batch: MicroBatch, device: torch.device
    ) -> Tensor | None:
        """(B,) of the micro-batch, in proportion to the whole batch.

        Codes say a chunk as a whole: one that reaches into what a policy commanded by itself
        weighs nothing.
        """
        weights = self._data.imitation.weights
        if weights is None:
            return None
        whole = weights[draw.seen.rows].amin(1, keepdim=True)
        whole = torch.cat([whole, whole.new_ones(self._watched_count, 1)])
        return micro_batch.of(batch_weights(whole, None))[:, 0].to(device)


def part_of(batch: int, share: float) -> int:
    """Observations of a batch that are a share of it.

    Raises:
        UsageError: the batch is too small to hold both.
    """
    count = round(share * batch)
    if not 0 < count < batch:
        raise UsageError(
            f"pseudo_share is {share:g} of {batch} observations, which rounds to {count}: give "
            "another --policy.pseudo-share, or a larger --optim.batch"
        )
    return count


def joined(first: Inputs, second: Inputs) -> Inputs:
    """Observations of two kinds as one batch."""

    def both(name: str) -> Tensor | None:
        one, other = getattr(first, name), getattr(second, name)
        return None if one is None or other is None else torch.cat([one, other])

    return Inputs(
        state=torch.cat([first.state, second.state]),
        environment=both("environment"),
        images=both("images"),
        instructions=first.instructions + second.instructions,
        codes=both("codes"),
    )
