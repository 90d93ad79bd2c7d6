"""From a checkpoint folder and an observation to a chunk of actions in robot units."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import CheckpointError, LayoutError, UsageError
from ate_core.observation import Observation
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.continuation import Continuation
from ate_policy.graphed import GraphedSampler
from ate_policy.images import decode_jpeg, fit_image, images_to_tensor
from ate_policy.loading import find_device, find_dtype, restore_model
from ate_policy.models.inpainting import (
    LARGEST_DIRECT_WEIGHT,
    LARGEST_WEIGHT,
    Inpainting,
    soft_mask,
)
from ate_policy.models.interface import ChunkModel, Inputs, PolicyConfig, action_width
from ate_policy.transforms import (
    ChunkTransform,
    Statistics,
    environment_features,
)


class Policy:
    """A trained network with its transforms; `infer` is all a robot needs."""

    def __init__(
        self,
        kind: str,
        model: ChunkModel,
        transform: ChunkTransform,
        contract: str,
        training: dict[str, Any],
    ) -> None:
        """Use `load_policy`."""
        self.kind = kind
        """Kind of the network, see `ate_policy.models.registry`."""
        self._model = model.eval().requires_grad_(False)
        weight = next(model.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        graphed = self._device.type == "cuda"
        self._sample = GraphedSampler(model.sample) if graphed else model.sample
        self._width = action_width(model)
        self._transform = transform
        self._gripper = _ratio_columns(contract, model.config.action_size)
        self.config: PolicyConfig = model.config
        """Of the network, with what it reads: objects, cameras and their size, language."""
        self.contract = contract
        """Canonical text of the cell the policy was trained for."""
        self.training = training
        """How the policy was trained, as stored in its checkpoint."""

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._device

    @property
    def horizon(self) -> int:
        """Actions per chunk H [ticks]."""
        return self._model.config.horizon

    @property
    def statistics(self) -> Statistics:
        """Normalisation of states, actions and object features."""
        return self._transform.statistics

    @property
    def only_instruction(self) -> str | None:
        """The text of all demonstrations; None if they had several, or it was not recorded."""
        return only_instruction(self.training)

    def instruction_for(self, given: str) -> str:
        """What to tell the policy: the given text, or else the only one it was trained with.

        Raises:
            UsageError: if it reads language, nothing is given and it knows several texts.
        """
        return choose_instruction(given, self.config, self.training)

    def require_instruction(self, text: str) -> None:
        """Refuse an instruction given while the policy runs that it cannot follow.

        Raises:
            UsageError: it reads none, or never heard this one.
        """
        refuse_instruction(text, self.config, self.training)

    @property
    def continues(self) -> bool:
        """Whether `infer` takes a continuation (real-time chunking)."""
        return self._model.continues

    def infer(
        self,
        observation: Observation,
        generator: torch.Generator | int | None = None,
        continuation: Continuation | None = None,
    ) -> np.ndarray:
        """Infer the actions of the next H ticks.

        Args:
            observation: What was measured at tick k.
            generator: Source of the sampler's noise, or a seed. None: torch's global generator.
            continuation: The chunk that is being played, with which the new one has to agree;
                only where `continues`. None: nothing is, or it does not matter.

        Returns:
            (H, D) float32 in robot units (rad, ratio); row i belongs to tick k + 1 + i.
        """
        if isinstance(generator, int):
            generator = torch.Generator().manual_seed(generator)
        # guidance differentiates, which tensors of the inference mode cannot
        with torch.inference_mode(continuation is None), torch.no_grad():
            inputs = self._inputs(observation)
            noise = torch.randn(1, self.config.horizon, self._width, generator=generator)
            noise = noise.to(self._device)
            state = torch.from_numpy(np.asarray(observation.state, dtype=np.float32))[None]
            if continuation is None:
                chunk = self._sample(inputs, noise)
            else:
                chunk = self._model.sample(inputs, noise, self._inpainting(continuation, state))
            chunk = self._model.extract(chunk).float().cpu()
            actions = self._transform.decode_chunk(chunk, state)[0]
            actions[:, self._gripper] = actions[:, self._gripper].clamp(0.0, 1.0)
            return actions.numpy().astype(np.float32)

    def _inpainting(self, continuation: Continuation, state: Tensor) -> Inpainting:
        """The old rows in the network's units, as differences from the present state (1, S).

        Rows behind the last old one repeat it; their weight is 0.
        """
        if not self.continues:
            raise UsageError(
                f"policy:{self.kind} cannot go on with a chunk: use another chunk mode"
            )
        horizon = self.config.horizon
        old = torch.from_numpy(np.asarray(continuation.actions[:horizon], dtype=np.float32))
        if old.shape[1] != self.config.action_size:
            raise LayoutError(
                f"an old chunk has {old.shape[1]} entries per action, the policy "
                f"{self.config.action_size}: clear the queue when the policy changes"
            )
        rows = torch.cat([old, old[-1:].expand(horizon - len(old), -1)])
        embed = self._model.embed
        weights = soft_mask(horizon, continuation.delay, len(old))[:, None]
        known = embed(torch.ones(self.config.action_size))
        # as many rows as it was trained to be given; at more, or none, it is guided
        trained = continuation.delay <= self.config.max_delay
        return Inpainting(
            prefix=min(continuation.delay, len(old)) if trained else 0,
            is_direct=continuation.is_direct,
            largest=LARGEST_DIRECT_WEIGHT if continuation.is_direct else LARGEST_WEIGHT,
            rows=embed(self._transform.encode_chunk(rows[None], state)).to(self._device),
            weights=(weights * known).to(self._device),
        )

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a camera's JPEG as in training, no larger than the policy needs.

        Returns:
            (H, W, 3) uint8 RGB, to be passed in `Observation.images`.
        """
        return decode_jpeg(data, self.config.image_height, self.config.image_width)

    def warm_up(self, instruction: str = "", repeats: int = 3, continuing: bool = False) -> float:
        """Infer from a made-up observation, so that the first real chunk is not late.

        Args:
            instruction: The one that will be given.
            repeats: Inferences; the first ones take longer.
            continuing: Whether chunks will have to go on with others.

        Returns:
            Duration of the last inference [s].
        """
        seen = blank_observation(self.config, self.statistics, instruction)
        duration, old = 0.0, None
        for _ in range(repeats):
            begin = time.perf_counter()
            chunk = self.infer(seen, 0, old)
            duration = time.perf_counter() - begin
            old = Continuation(actions=chunk, delay=1) if continuing else None
        return duration

    def _inputs(self, observation: Observation) -> Inputs:
        """Observation in robot units -> network inputs, batch of one."""
        state = np.asarray(observation.state, dtype=np.float32)
        if state.shape != (self.config.state_size,):
            raise LayoutError(
                f"state has shape {state.shape}, the policy reads "
                f"({self.config.state_size},): use the layout it was trained with"
            )
        if not np.isfinite(state).all():
            raise LayoutError(f"state entry {int(np.argmin(np.isfinite(state)))} is not finite")
        return Inputs(
            state=self._ready(self._transform.state.apply(torch.from_numpy(state))),
            environment=self._environment(observation) if self.config.objects else None,
            images=self._images(observation) if self.config.cameras else None,
            instructions=(observation.instruction,) if self.config.language else (),
        )

    def _environment(self, observation: Observation) -> Tensor:
        if observation.environment is None:
            raise LayoutError(
                f"observation has no object poses, the policy reads {self.config.objects}: a "
                "state policy runs only where object poses are published (the simulated cell)"
            )
        poses = np.asarray(observation.environment, dtype=np.float32)
        if poses.shape != (self.config.objects, 7) or not np.isfinite(poses).all():
            raise LayoutError(
                f"object poses have shape {poses.shape}, must be finite and "
                f"({self.config.objects}, 7): run the task the policy was trained on"
            )
        features = torch.from_numpy(environment_features(poses))
        if self._transform.environment is None:
            raise LayoutError("the policy has no statistics of object poses: train it again")
        return self._ready(self._transform.environment.apply(features))

    def _images(self, observation: Observation) -> Tensor:
        missing = [key for key in self.config.cameras if key not in observation.images]
        if missing:
            raise LayoutError(
                f"observation has no image {missing}, it has {sorted(observation.images)}: "
                "start these cameras"
            )
        images = [
            fit_image(
                observation.images[key],
                self.config.image_height,
                self.config.image_width,
                self.config.image_fit,
            )
            for key in self.config.cameras
        ]
        return self._ready(images_to_tensor(torch.from_numpy(np.stack(images)).to(self._device)))

    def _ready(self, values: Tensor) -> Tensor:
        """Network input as a batch of one, where the weights are and in their precision."""
        return values[None].to(self._device, self._dtype)

    def prepare(self, observation: Observation) -> Inputs:
        """What the network is given, for whoever times that alone."""
        with torch.inference_mode():
            return self._inputs(observation)

    def blank_observation(self, instruction: str = "") -> Observation:
        """A made-up observation: the mean state, black pictures, objects at the origin."""
        return blank_observation(self.config, self.statistics, instruction)


def only_instruction(training: Mapping[str, Any]) -> str | None:
    """The text of all demonstrations; None if they had several, or it was not recorded."""
    known = training.get("instructions", ())
    return str(known[0]) if len(known) == 1 else None


def choose_instruction(given: str, config: PolicyConfig, training: Mapping[str, Any]) -> str:
    """What to tell a policy: the given text, or else the only one it was trained with.

    Raises:
        UsageError: if it reads language, nothing is given and it knows several texts.
    """
    if given or not config.language:
        return given
    if (only := only_instruction(training)) is None:
        known = list(training.get("instructions", ()))
        raise UsageError(
            f"the policy reads an instruction and knows {len(known)}: give one of {known[:5]}"
        )
    return only


def refuse_instruction(text: str, config: PolicyConfig, training: Mapping[str, Any]) -> None:
    """Refuse an instruction given while a policy runs that it cannot follow.

    Raises:
        UsageError: it reads none, or never heard this one.
    """
    known = [str(one) for one in training.get("instructions", ())]
    if not config.language:
        raise UsageError("the policy reads no instruction: run another checkpoint")
    if not text.strip() or (known and text not in known):
        raise UsageError(f"instruction {text!r} was never trained: give one of {known[:5]}")


def blank_observation(
    config: PolicyConfig, statistics: Statistics, instruction: str = ""
) -> Observation:
    """An observation of nothing that a policy can read: its mean posture, black pictures."""
    poses = np.zeros((config.objects, 7), np.float32)
    poses[:, 6] = 1.0
    size = (config.image_height, config.image_width, 3)
    return Observation(
        state=np.asarray(statistics.state.mean, dtype=np.float32),
        images={key: np.zeros(size, np.uint8) for key in config.cameras},
        environment=poses if config.objects else None,
        instruction=instruction,
        stamp_ns=0,
    )


def load_policy(
    path: str | Path, cell: Cell | None = None, device: str = "cpu", precision: str = "auto"
) -> Policy:
    """Load a policy from its checkpoint folder (or from a run folder: the newest one).

    Args:
        path: Folder written by `ate finetune`.
        cell: The cell it shall run on; a differing layout is refused by field name.
        device: Where the network runs: auto, cpu, cuda, ...
        precision: What it computes in: fp32, bf16, or auto: bf16 for pi0 and rdt on a GPU.
    """
    place = find_device(device)
    checkpoint = load_checkpoint(path, cell)
    if cell is not None and cell.operators and not checkpoint.cell.operators:
        raise LayoutError(
            f"{path} learned from {checkpoint.cell.name}, a robot that was only read from files; "
            f"this cell is {cell.name}: fine-tune it on episodes of this cell first, with --init"
        )
    return Policy(
        checkpoint.kind,
        restore_model(checkpoint, place, find_dtype(precision, checkpoint.kind, place)),
        ChunkTransform(checkpoint.statistics),
        checkpoint.contract,
        dict(checkpoint.training),
    )


def checkpoint_of(
    kind: str,
    config: PolicyConfig,
    *,
    weights: Mapping[str, Tensor],
    statistics: Statistics,
    contract: str,
    training: dict[str, Any],
    card: str = "",
) -> Checkpoint:
    """Describe a policy as a checkpoint, ready to be saved."""
    config, weights = config.deployed(weights)
    return Checkpoint(
        kind=kind,
        weights=weights,
        model=dataclasses.asdict(config),
        contract=contract,
        statistics=statistics,
        training=training,
        card=card,
    )


def _ratio_columns(contract: str, size: int) -> list[int]:
    """Columns of the action that are ratios, which end at 0 and 1."""
    layout = parse_cell_text(contract).layout.action
    if layout.size != size:
        raise CheckpointError(
            f"the network has {size} action entries, its contract {layout.size}: train again"
        )
    return list(layout.columns("ratio"))
