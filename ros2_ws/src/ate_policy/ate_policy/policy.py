"""From a checkpoint folder and an observation to a chunk of actions in robot units."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import CheckpointError, LayoutError
from ate_core.observation import Observation
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.images import decode_jpeg, images_to_tensor, resize_image
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.transforms import (
    ChunkTransform,
    Statistics,
    VectorStatistics,
    environment_features,
)

FLOW_POLICY = "flow_policy"
"""Kind of a checkpoint that holds a flow policy."""


@dataclass(frozen=True, kw_only=True)
class PolicyNeeds:
    """What an observation must hold for a policy."""

    objects: int
    """Object poses in `environment`; 0: none."""
    cameras: tuple[str, ...]
    """Image keys in `images`; any image size is taken."""
    image_height: int
    """Height to which images are shrunk [px]."""
    image_width: int
    """Width to which images are shrunk [px]."""

    @property
    def environment(self) -> bool:
        """Whether object poses are needed."""
        return self.objects > 0


class Policy:
    """A trained network with its transforms; `infer` is all a robot needs."""

    def __init__(
        self, model: FlowPolicy, transform: ChunkTransform, contract: str, training: dict
    ) -> None:
        """Use `load_policy`."""
        self._model = model.eval().requires_grad_(False)
        self._transform = transform
        self._gripper = _ratio_columns(contract, model.config.action_size)
        self.contract = contract
        """Canonical text of the cell the policy was trained for."""
        self.training = training
        """How the policy was trained, as stored in its checkpoint."""
        self.needs = PolicyNeeds(
            objects=model.config.objects,
            cameras=model.config.cameras,
            image_height=model.config.image_height,
            image_width=model.config.image_width,
        )

    @property
    def horizon(self) -> int:
        """Actions per chunk H [ticks]."""
        return self._model.config.horizon

    @property
    def statistics(self) -> Statistics:
        """Normalisation of states, actions and object features."""
        return self._transform.statistics

    @torch.inference_mode()
    def infer(
        self, observation: Observation, generator: torch.Generator | int | None = None
    ) -> np.ndarray:
        """Infer the actions of the next H ticks.

        Args:
            observation: What was measured at tick k.
            generator: Source of the sampler's noise, or a seed. None: torch's global generator.

        Returns:
            (H, D) float32 in robot units (rad, ratio); row i belongs to tick k + 1 + i.
        """
        if isinstance(generator, int):
            generator = torch.Generator().manual_seed(generator)
        condition = self._model.condition(*self._inputs(observation))
        config = self._model.config
        noise = torch.randn(1, config.horizon, config.action_size, generator=generator)
        chunk = self._transform.action.invert(self._model.sample(condition, noise))[0]
        chunk[:, self._gripper] = chunk[:, self._gripper].clamp(0.0, 1.0)
        return chunk.numpy().astype(np.float32)

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a camera's JPEG as in training, no larger than the policy needs.

        Returns:
            (H, W, 3) uint8 RGB, to be passed in `Observation.images`.
        """
        return decode_jpeg(data, self.needs.image_height, self.needs.image_width)

    def warm_up(self, repeats: int = 3) -> float:
        """Infer from a made-up observation, so that the first real chunk is not late.

        Returns:
            Duration of the last inference [s].
        """
        duration = 0.0
        for _ in range(repeats):
            begin = time.perf_counter()
            self.infer(self._blank_observation(), 0)
            duration = time.perf_counter() - begin
        return duration

    def _inputs(self, observation: Observation) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Observation in robot units -> network inputs, batch of one."""
        state = np.asarray(observation.state, dtype=np.float32)
        if state.shape != (self._model.config.state_size,):
            raise LayoutError(
                f"state has shape {state.shape}, the policy reads "
                f"({self._model.config.state_size},): use the layout it was trained with"
            )
        if not np.isfinite(state).all():
            raise LayoutError(f"state entry {int(np.argmin(np.isfinite(state)))} is not finite")
        return (
            self._transform.state.apply(torch.from_numpy(state))[None],
            self._environment(observation) if self.needs.environment else None,
            self._images(observation) if self.needs.cameras else None,
        )

    def _environment(self, observation: Observation) -> Tensor:
        if observation.environment is None:
            raise LayoutError(
                f"observation has no object poses, the policy reads {self.needs.objects}: a state "
                "policy runs only where object poses are published (the simulated cell)"
            )
        poses = np.asarray(observation.environment, dtype=np.float32)
        if poses.shape != (self.needs.objects, 7) or not np.isfinite(poses).all():
            raise LayoutError(
                f"object poses have shape {poses.shape}, must be finite and "
                f"({self.needs.objects}, 7): run the task the policy was trained on"
            )
        features = torch.from_numpy(environment_features(poses))
        return self._transform.environment.apply(features)[None]

    def _images(self, observation: Observation) -> Tensor:
        missing = [key for key in self.needs.cameras if key not in observation.images]
        if missing:
            raise LayoutError(
                f"observation has no image {missing}, it has {sorted(observation.images)}: "
                "start these cameras"
            )
        size = (self.needs.image_height, self.needs.image_width)
        images = [resize_image(observation.images[key], *size) for key in self.needs.cameras]
        return images_to_tensor(torch.from_numpy(np.stack(images)))[None]

    def _blank_observation(self) -> Observation:
        height, width = self.needs.image_height, self.needs.image_width
        poses = np.zeros((self.needs.objects, 7), np.float32)
        poses[:, 6] = 1.0
        return Observation(
            state=np.asarray(self._transform.statistics.state.mean, dtype=np.float32),
            images={key: np.zeros((height, width, 3), np.uint8) for key in self.needs.cameras},
            environment=poses if self.needs.environment else None,
            instruction="",
            stamp_ns=0,
        )


def load_policy(path: str | Path, cell: Cell | None = None) -> Policy:
    """Load a policy from its checkpoint folder (or from a run folder: the newest one).

    Args:
        path: Folder written by `ate finetune`.
        cell: The cell it shall run on; a differing layout is refused by field name.
    """
    checkpoint = load_checkpoint(path, cell, kind=FLOW_POLICY)
    return Policy(
        build_model(checkpoint),
        ChunkTransform(checkpoint.statistics),
        checkpoint.contract,
        dict(checkpoint.training),
    )


def build_model(checkpoint: Checkpoint) -> FlowPolicy:
    """The network of a checkpoint with its weights."""
    try:
        model = FlowPolicy(FlowPolicyConfig(**checkpoint.model))
        model.load_state_dict(dict(checkpoint.weights))
    except (TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"weights do not fit config.json ({reason}): train again") from None
    return model


def untrained_policy(
    cell: Cell,
    *,
    objects: int = 0,
    cameras: tuple[str, ...] = (),
    seed: int = 0,
    statistics: Statistics | None = None,
) -> Policy:
    """A policy with random weights, as the control that must fail.

    Args:
        cell: The cell it shall run on.
        objects: Object poses it reads; 0: none.
        cameras: Image keys it reads.
        seed: Decides the weights; torch's global random stream is left alone.
        statistics: Normalisation of the trained policy it is compared with; None: joints around
            the home posture with a spread of 0.3.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = FlowPolicy(
            FlowPolicyConfig(
                action_size=cell.layout.action.size,
                state_size=cell.layout.state.size,
                objects=objects,
                cameras=cameras,
            )
        )
    statistics = statistics or _home_statistics(cell, objects)
    return Policy(model, ChunkTransform(statistics), cell.canonical_text(), {"steps": 0})


def checkpoint_of(
    model: FlowPolicy,
    *,
    weights: dict[str, Tensor],
    statistics: Statistics,
    contract: str,
    training: dict,
    card: str = "",
) -> Checkpoint:
    """Describe a flow policy as a checkpoint, ready to be saved."""
    return Checkpoint(
        kind=FLOW_POLICY,
        weights=weights,
        model=dataclasses.asdict(model.config),
        contract=contract,
        statistics=statistics,
        training=training,
        card=card,
    )


def _ratio_columns(contract: str, size: int) -> list[int]:
    """Columns of the action that are ratios, which end at 0 and 1."""
    units = parse_cell_text(contract).layout.action.units
    if len(units) != size:
        raise CheckpointError(
            f"the network has {size} action entries, its contract {len(units)}: train again"
        )
    return [index for index, unit in enumerate(units) if unit == "ratio"]


def _home_statistics(cell: Cell, objects: int) -> Statistics:
    values = {
        **{f"{side}_arm": arm.home for side, arm in cell.arms.items()},
        **{f"{side}_gripper": 0.5 for side in cell.grippers},
    }

    def around(mean: np.ndarray, spread: float) -> VectorStatistics:
        return VectorStatistics(
            mean=tuple(mean.tolist()),
            std=(spread,) * len(mean),
            q01=tuple((mean - 2.3 * spread).tolist()),
            q99=tuple((mean + 2.3 * spread).tolist()),
        )

    return Statistics(
        state=around(cell.layout.state.pack(values), 0.3),
        action=around(cell.layout.action.pack(values), 0.3),
        environment=around(np.zeros(6 * objects), 0.5) if objects else None,
    )
