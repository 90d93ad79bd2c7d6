"""Demonstrations in memory: observation of tick k, actions of ticks k+1 .. k+H.

`action[k]` of an episode is the command in force at tick k+1, so the chunk of tick k is
`action[k : k + H]`. Behind the end of an episode its last action is repeated. Policy and action
VAE take their chunks from here, so both see the same padding.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_core.errors import LayoutError, TrainingError
from ate_policy.models.interface import PolicyConfig
from ate_policy.transforms import ChunkTransform, Statistics, environment_features
from training.data.corrections import AS_DEMONSTRATED, Corrections, Imitation, imitation_of
from training.data.digests import sha256_of
from training.data.images import ImageStore
from training.data.moments import Moments, join_moments, moments_of
from training.data.statistics import relative_statistics, unit_statistics, vector_statistics
from training.data.trajectory import Trajectory, check_trajectories

ActionSpace = Literal["absolute", "relative"]
"""relative: joint angles of a chunk are differences from the state at its tick (openpi)."""


def action_space(statistics: Statistics) -> ActionSpace:
    """The space that statistics were taken in."""
    return "relative" if statistics.relative else "absolute"


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """All ticks of all demonstrations, in robot units."""

    states: Tensor
    """(N, S)."""
    actions: Tensor
    """(N, D)."""
    environment: Tensor | None
    """(N, 6 n) object features."""
    object_names: tuple[str, ...]
    """Of the n objects, in their order; empty: not known."""
    images: ImageStore | None
    """Cameras of all ticks."""
    windows: Tensor
    """(N, H) rows of `actions` that form the chunk of each tick."""
    imitation: Imitation
    """Which of the ticks are learnt, and what they weigh."""
    contract: str
    """Canonical text of the cell."""
    task: str
    """Tasks shown, comma-separated."""
    instructions: tuple[str, ...]
    """What was to be done, by demonstration; the task's name where nothing was recorded."""
    seeds: tuple[int, ...]
    """Of the simulated starts, by demonstration; -1: none."""
    first_ticks: Tensor
    """(E,) first tick of each demonstration."""
    moments: Mapping[str, tuple[Moments, ...]]
    """Those of the columns of ``state``, ``action`` and, with objects, ``environment``."""

    def __len__(self) -> int:
        """Number of ticks N."""
        return len(self.states)

    @property
    def objects(self) -> int:
        """Object poses per tick."""
        return 0 if self.environment is None else self.environment.shape[1] // 6

    @property
    def episodes(self) -> int:
        """Number of demonstrations E."""
        return len(self.instructions)

    def instructions_of(self, rows: Tensor) -> tuple[str, ...]:
        """Instruction of each tick (B,)."""
        episodes = torch.searchsorted(self.first_ticks, rows, right=True) - 1
        return tuple(self.instructions[index] for index in episodes.tolist())

    def sha256(self) -> str:
        """Digest of what was read, images aside: which data a run was made from."""
        seen, weights = self.environment, self.imitation.weights
        return sha256_of(self.contract, self.states, self.actions, seen, weights)

    def motion_sha256(self) -> str:
        """Digest of what all networks that learn these chunks read, whatever they see besides."""
        return sha256_of(self.states, self.actions, self.first_ticks)

    def labels_sha256(self) -> str:
        """Digest of what is told of each demonstration: instruction, seed and first tick."""
        told = [self.instructions, self.seeds, self.first_ticks.tolist()]
        return sha256_of(json.dumps(told))

    def statistics(self, space: ActionSpace = "absolute", *, normalise: bool = True) -> Statistics:
        """Statistics of state, action and object features, over all ticks.

        Those that are not learnt count as well, so that no weight changes the normalisation.

        Args:
            space: Those of relative actions are taken over whole chunks, after the state was
                subtracted.
            normalise: Without, those of state and action leave them in robot units.
        """
        measured = self._measured(space)
        if normalise:
            return measured
        return dataclasses.replace(
            measured,
            state=unit_statistics(measured.state),
            action=unit_statistics(measured.action),
        )

    def _measured(self, space: ActionSpace) -> Statistics:
        environment = self.environment
        statistics = Statistics(
            state=vector_statistics(self.states.numpy(), "state", self.moments["state"]),
            action=vector_statistics(self.actions.numpy(), "action", self.moments["action"]),
            environment=None
            if environment is None
            else vector_statistics(
                environment.numpy(), "object features", self.moments["environment"]
            ),
        )
        if space == "absolute":
            return statistics
        return relative_statistics(
            statistics,
            self._relative_columns(),
            self.actions,
            self.windows,
            self.states,
            "relative action",
        )

    def chunks(self, transform: ChunkTransform) -> Tensor:
        """The chunks of all ticks in model units, (N, H, D)."""
        return transform.encode_chunk(self.actions[self.windows], self.states)

    def _relative_columns(self) -> tuple[int, ...]:
        """Joint angles; ratios stay absolute."""
        layout = parse_cell_text(self.contract).layout
        if layout.action.names != layout.state.names:
            raise LayoutError(
                "relative actions need the same names in state and action: "
                f"{layout.action.names} against {layout.state.names}; use --actions absolute"
            )
        return layout.action.columns("rad")


def chunk_windows(length: int, horizon: int) -> NDArray[np.int64]:
    """Rows of the chunk of every tick of an episode; the last row is repeated at the end.

    Returns:
        (length, horizon).
    """
    rows = np.arange(length)[:, None] + np.arange(horizon)[None, :]
    windows: NDArray[np.int64] = np.minimum(rows, length - 1)
    return windows


def gather(
    trajectories: Iterable[Trajectory],
    config: PolicyConfig,
    *,
    image_memory_gb: float = 8.0,
    corrections: Corrections = AS_DEMONSTRATED,
) -> Demonstrations:
    """Put demonstrations into tensors and check that they fit together.

    Args:
        trajectories: Of one layout.
        config: What the policy reads (horizon, whether objects, which cameras).
        image_memory_gb: Images are decoded once if that is enough, else when they are drawn.
        corrections: What becomes of a policy's own ticks and of those after a takeover.
    """
    trajectories = list(trajectories)
    if not trajectories:
        raise TrainingError("there are no demonstrations: give a folder of episodes")
    check_trajectories(trajectories, config)
    windows, first_ticks, offset = [], [], 0
    for trajectory in trajectories:
        windows.append(chunk_windows(len(trajectory.action), config.horizon) + offset)
        first_ticks.append(offset)
        offset += len(trajectory.action)
    all_windows = torch.from_numpy(np.concatenate(windows))
    return Demonstrations(
        states=_stack([t.state for t in trajectories]),
        actions=_stack([t.action for t in trajectories]),
        environment=_environment(trajectories) if config.objects else None,
        object_names=_object_names(trajectories) if config.objects else (),
        images=_images(trajectories, config, image_memory_gb) if config.cameras else None,
        windows=all_windows,
        imitation=imitation_of(trajectories, all_windows, corrections),
        contract=trajectories[0].contract,
        task=", ".join(sorted({t.task for t in trajectories} - {""})),
        instructions=tuple(t.instruction for t in trajectories),
        seeds=tuple(t.seed for t in trajectories),
        first_ticks=torch.tensor(first_ticks),
        moments={
            "state": _moments(trajectories, "state"),
            "action": _moments(trajectories, "action"),
            "environment": _moments(trajectories, "environment") if config.objects else (),
        },
    )


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float32))


def _moments(trajectories: list[Trajectory], kind: str) -> tuple[Moments, ...]:
    """Moments of the columns over all demonstrations: the same to the bit, known or not."""
    parts = [one.moments.get(kind) or moments_of(_rows(one, kind)) for one in trajectories]
    return tuple(join_moments(columns) for columns in zip(*parts, strict=True))


def _rows(one: Trajectory, kind: str) -> np.ndarray:
    """(T, D) float32, as they are trained on."""
    if kind != "environment":
        rows: np.ndarray = getattr(one, kind).astype(np.float32)
        return rows
    return environment_features(np.asarray(one.environment))


def _environment(trajectories: list[Trajectory]) -> Tensor:
    """(N, 6 n) object features; `check_trajectories` has refused demonstrations without poses."""
    poses = [t.environment for t in trajectories if t.environment is not None]
    return _stack([environment_features(one) for one in poses])


def _object_names(trajectories: list[Trajectory]) -> tuple[str, ...]:
    """Of all demonstrations that tell them; `check_trajectories` has refused others."""
    return next((t.object_names for t in trajectories if t.object_names), ())


def _images(trajectories: list[Trajectory], config: PolicyConfig, memory_gb: float) -> ImageStore:
    return ImageStore(
        [[t.images[key] for key in config.cameras] for t in trajectories],
        [t.first_image for t in trajectories],
        height=config.image_height,
        width=config.image_width,
        fit=config.image_fit,
        memory_gb=memory_gb,
    )
