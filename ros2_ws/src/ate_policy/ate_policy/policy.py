"""From a checkpoint folder and an observation to a chunk of actions in robot units."""

import dataclasses
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import CheckpointError, LayoutError
from ate_core.observation import Observation
from ate_core.trained_for import require_robot
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.chunk_makers import make_chunks
from ate_policy.continuation import Continuation
from ate_policy.images import fit_image, images_to_tensor
from ate_policy.loading import find_device, find_dtype, restore_model
from ate_policy.models.interface import Inputs, Network, PolicyConfig
from ate_policy.models.names import require_policy
from ate_policy.robot_policy import RobotPolicy
from ate_policy.transforms import (
    ChunkTransform,
    Statistics,
    environment_features,
)


class Policy(RobotPolicy):
    """A trained network with its transforms, in this process."""

    def __init__(
        self,
        kind: str,
        model: Network,
        transform: ChunkTransform,
        contract: str,
        training: dict[str, Any],
        cell: Cell | None = None,
    ) -> None:
        """Use `load_policy`."""
        self.kind, self.contract, self.training = kind, contract, training
        self._model = model.eval().requires_grad_(False)
        weight = next(model.parameters())
        self.device, self._dtype = weight.device, weight.dtype
        self._turn = threading.Lock()  # one that was given up goes on, with the same memory
        self._transform = transform
        self._gripper = _ratio_columns(contract, model.config.action_size)
        self._maker = make_chunks(kind, model, transform, cell or parse_cell_text(contract))
        self.config = model.config
        self.statistics = transform.statistics
        self.continues = self._maker.continues

    def infer(
        self,
        observation: Observation,
        generator: torch.Generator | int | None = None,
        continuation: Continuation | None = None,
    ) -> np.ndarray:
        """Infer the actions (H, D) of the next H ticks."""
        if isinstance(generator, int):
            generator = torch.Generator().manual_seed(generator)
        # guidance differentiates, which tensors of the inference mode cannot
        with self._turn, torch.inference_mode(continuation is None), torch.no_grad():
            inputs = self._inputs(observation)
            state = np.asarray(observation.state, dtype=np.float32)
            actions = self._maker.make(inputs, state, generator, continuation)
        actions[:, self._gripper] = actions[:, self._gripper].clip(0.0, 1.0)
        return actions

    def try_out(
        self, observation: Observation, continuation: Continuation | None = None
    ) -> np.ndarray:
        """The same, with noise of its own."""
        return self.infer(observation, 0, continuation)

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
        return self._ready(images_to_tensor(torch.from_numpy(np.stack(images)).to(self.device)))

    def _ready(self, values: Tensor) -> Tensor:
        """Network input as a batch of one, where the weights are and in their precision."""
        return values[None].to(self.device, self._dtype)

    def prepare(self, observation: Observation) -> Inputs:
        """What the network is given, for whoever times that alone."""
        with torch.inference_mode():
            return self._inputs(observation)


def load_policy(
    path: str | Path, cell: Cell | None = None, device: str = "cpu", precision: str = "auto"
) -> Policy:
    """Load a policy from its checkpoint folder (or from a run folder: the newest one).

    Args:
        path: Folder written by `ate finetune`.
        cell: The cell it shall run on; a policy of another robot is refused.
        device: Where the network runs: auto, cpu, cuda, ...
        precision: What it computes in: fp32, bf16, or auto: bf16 for pi0 and rdt on a GPU.
    """
    place = find_device(device)
    checkpoint = load_checkpoint(path, cell)
    require_policy(checkpoint.kind, str(path))
    if cell is not None:
        require_robot(checkpoint.cell, cell, str(path))
    return Policy(
        checkpoint.kind,
        restore_model(checkpoint, place, find_dtype(precision, checkpoint.kind, place)),
        ChunkTransform(checkpoint.statistics),
        checkpoint.contract,
        dict(checkpoint.training),
        cell,
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
