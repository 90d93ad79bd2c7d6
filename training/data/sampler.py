"""Random batches of normalised observations and chunks."""

import dataclasses

import torch
from torch import Tensor

from ate_policy.models.inpainting import clean_rows
from ate_policy.models.interface import ChunkModel, Inputs, action_width
from ate_policy.noise import Noised, mix
from ate_policy.transforms import ChunkTransform
from training.data.augmentation import Augmentation
from training.data.corrections import batch_weights
from training.data.dataset import Demonstrations
from training.data.micro_batch import MicroBatch
from training.data.observations import ObservationDraw, Observations


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw(ObservationDraw):
    """All that is random in one optimiser step; R chunks in a row share an observation."""

    level: Tensor
    """(R B,) times of the noise process."""
    noise: Tensor
    """(R B, H, M) eps."""
    prefix: Tensor | None = None
    """(B,) first rows of each chunk that are given clean; None: none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """What one forward pass learns from."""

    inputs: Inputs
    """B observations."""
    noised: Noised
    """R B chunks, in the model's action space."""
    eps: Tensor
    """The objective's own noise for each chunk."""
    weight: Tensor | None = None
    """(R B, H, 1) of each action in the loss, mean 1 over the whole batch; None: all are equal."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything in it by name, for the record of a broken step."""
        named = {**vars(self.inputs), **vars(self.noised), "eps": self.eps, "weight": self.weight}
        return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def draw_rows(data: Demonstrations, count: int, generator: torch.Generator) -> Tensor:
    """Draw ticks (count,) that are learnt, with replacement."""
    learnt = data.imitation.ticks
    rows = torch.randint(
        len(data.states if learnt is None else learnt), (count,), generator=generator
    )
    return rows if learnt is None else learnt[rows]


class BatchSampler:
    """Draws ticks with replacement, and perturbs what was observed there.

    One generator decides ticks, perturbations and the noise of the chunks: its state is all that
    a resumed run needs, and guidance does not touch it.
    """

    def __init__(
        self,
        data: Demonstrations,
        transform: ChunkTransform,
        model: ChunkModel,
        *,
        batch: int,
        draws: int = 1,
        input_noise: float = 0.0,
        augmentation: Augmentation | None = None,
        latents: Tensor | None = None,
        codes: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        """Normalise the data.

        Args:
            data: Demonstrations in robot units.
            transform: Of the policy.
            model: Gives the noise process and the action space.
            batch: Chunks per optimiser step, over all processes; a multiple of `draws`.
            draws: Noisy chunks per observation R; more than one where observing is expensive.
            input_noise: Noise on state and object features, in units of their std.
            augmentation: Changes images at random; None: they stay.
            latents: (N, 2 L) of each tick's chunk, see `Noised.latent`; None: none are kept.
            codes: (N, L) of each tick's chunk, see `Inputs.codes`; None: none are scored.
            seed: Of the generator.
        """
        self.generator = torch.Generator().manual_seed(seed)
        self.draws = draws
        self.observations = batch // draws
        self._max_delay = model.config.max_delay
        self._process = model.process
        self._embed = model.embed
        self._width = action_width(model)
        self._latents = latents
        self._codes = codes
        self._data = data
        self._transform = transform
        self._observations = Observations(
            data, transform, input_noise=input_noise, augmentation=augmentation
        )

    def draw(self) -> Draw:
        """Random numbers of the next step; the same on every process."""
        count, generator = self.observations, self.generator
        seen = self._observations.draw(draw_rows(self._data, count, generator), generator)
        level = self._process.draw_levels(count * self.draws, generator)
        horizon = self._data.windows.shape[1]
        noise = torch.randn(count * self.draws, horizon, self._width, generator=generator)
        prefix = None
        if self._max_delay:
            prefix = torch.randint(self._max_delay + 1, (count,), generator=generator)
        return Draw(
            **vars(seen),
            level=level,
            noise=noise,
            prefix=prefix,
        )

    def load(
        self, draw: Draw, micro_batch: MicroBatch, eps: Tensor, device: torch.device
    ) -> Batch:
        """Observations and noisy chunks of one micro-batch of a draw, on a device.

        Args:
            draw: Of this step.
            micro_batch: Observations of this forward pass.
            eps: The objective's noise of this step, (R B, L).
            device: Where the network is.
        """
        rows = micro_batch.of(draw.rows)
        inputs = dataclasses.replace(
            self._observations.inputs(draw, micro_batch, device),
            prefix=None if draw.prefix is None else micro_batch.of(draw.prefix).to(device),
            codes=None if self._codes is None else self._codes[rows].to(device),
        )
        chunks = self._data.actions[self._data.windows[rows]]
        actions = self._transform.encode_chunk(chunks, self._data.states[rows])
        actions = self._embed(actions.repeat_interleave(self.draws, dim=0).to(device))
        noisy = micro_batch.times(self.draws)
        noised = mix(self._process, actions, noisy.of(draw.level), noisy.of(draw.noise))
        if self._latents is not None:
            latent = self._latents[rows].to(device).repeat_interleave(self.draws, dim=0)
            noised = dataclasses.replace(noised, latent=latent)
        if inputs.prefix is not None:
            prefix = inputs.prefix.repeat_interleave(self.draws, dim=0)
            noised = dataclasses.replace(
                noised, clean=clean_rows(prefix, actions.shape[1], device)
            )
        return Batch(
            inputs=inputs,
            noised=noised,
            eps=noisy.of(eps).to(device),
            weight=self._weight(draw, micro_batch, device),
        )

    def _weight(self, draw: Draw, micro_batch: MicroBatch, device: torch.device) -> Tensor | None:
        """(R B, H, 1) of the micro-batch, in proportion to the whole batch."""
        weights, clean = self._data.imitation.weights, None
        if weights is None and draw.prefix is None:
            return None
        horizon = self._data.windows.shape[1]
        weights = torch.ones(len(draw.rows), horizon) if weights is None else weights[draw.rows]
        if draw.prefix is not None:
            clean = clean_rows(draw.prefix, horizon, weights.device)
        share = micro_batch.of(batch_weights(weights, clean))
        return share.repeat_interleave(self.draws, dim=0)[..., None].to(device)
