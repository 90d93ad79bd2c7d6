"""Robot units <-> model units, in pairs: what goes in comes out.

One `ChunkTransform` is made from the statistics of the training episodes and stored with them.
The policy, its trainer and the action VAE all use that same object, so a chunk means the same
numbers to each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ate_core.checkpoint_folders import require_sound_quantiles
from ate_core.errors import CheckpointError, LayoutError

FEATURES_PER_OBJECT = 6
"""Position (3) and x axis (3) of an object, world frame."""


@dataclass(frozen=True, kw_only=True)
class VectorStatistics:
    """Per-dimension statistics of a vector; each tuple has D entries."""

    mean: tuple[float, ...]
    """Mean."""
    std: tuple[float, ...]
    """Standard deviation, floored so that constant dimensions can be divided by it."""
    q01: tuple[float, ...]
    """1 % quantile."""
    q99: tuple[float, ...]
    """99 % quantile."""

    def __post_init__(self) -> None:
        """Refuse statistics that cannot be divided by."""
        sizes = {len(self.mean), len(self.std), len(self.q01), len(self.q99)}
        if len(sizes) != 1:
            raise CheckpointError(f"statistics have unequal lengths {sorted(sizes)}")
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std, default=1.0) <= 0.0:
            raise CheckpointError("statistics hold a non-finite mean or a std <= 0: rebuild them")
        require_sound_quantiles(self.q01, self.q99, "statistics")

    @property
    def size(self) -> int:
        """Number of dimensions D."""
        return len(self.mean)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of everything a policy reads and writes."""

    state: VectorStatistics
    """Measured state (16)."""
    action: VectorStatistics
    """Commanded action (16)."""
    environment: VectorStatistics | None = None
    """Object features (6 per object), where the policy reads object poses."""
    relative: tuple[int, ...] = ()
    """Columns of an action that are differences from the state at the chunk's tick (openpi: arm
    joints yes, grippers no); empty: all actions are absolute."""

    def to_dict(self) -> dict[str, object]:
        """JSON form, with the key names of openpi's norm_stats.json."""
        named = {"state": self.state, "actions": self.action, "environment": self.environment}
        return {
            "norm_stats": {
                name: {key: list(getattr(value, key)) for key in ("mean", "std", "q01", "q99")}
                for name, value in named.items()
                if value is not None
            },
            "relative": list(self.relative),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Statistics":
        """Read the JSON form."""
        try:
            tables = {name: _read_vector(name, one) for name, one in data["norm_stats"].items()}
            return cls(
                state=tables["state"],
                action=tables["actions"],
                environment=tables.get("environment"),
                relative=tuple(map(int, data.get("relative", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"statistics are incomplete ({error!r}): expected norm_stats with state and "
                "actions, each with mean, std, q01, q99"
            ) from error


def _read_vector(name: str, table: Mapping[str, Any]) -> VectorStatistics:
    """Statistics of one vector; what is wrong with them is told by its name."""
    numbers = {key: tuple(map(float, table[key])) for key in ("mean", "std", "q01", "q99")}
    try:
        return VectorStatistics(**numbers)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from None


class Normalise:
    """z = (x - mean) / std and back, for tensors whose last dimension is D."""

    def __init__(self, statistics: VectorStatistics) -> None:
        self.statistics = statistics
        self._mean = torch.tensor(statistics.mean, dtype=torch.float32)
        self._std = torch.tensor(statistics.std, dtype=torch.float32)

    def apply(self, values: Tensor) -> Tensor:
        """Robot units -> model units."""
        self._check(values)
        return (values - self._mean.to(values.device)) / self._std.to(values.device)

    def invert(self, values: Tensor) -> Tensor:
        """Model units -> robot units."""
        self._check(values)
        return values * self._std.to(values.device) + self._mean.to(values.device)

    def _check(self, values: Tensor) -> None:
        if values.shape[-1] != self.statistics.size:
            raise LayoutError(
                f"a vector has {values.shape[-1]} entries, its statistics {self.statistics.size}"
            )


class ChunkTransform:
    """All transforms of one policy, made from its statistics."""

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self.state = Normalise(statistics.state)
        self.action = Normalise(statistics.action)
        self.environment = (
            None if statistics.environment is None else Normalise(statistics.environment)
        )
        self._relative = list(statistics.relative)

    def encode_chunk(self, actions: Tensor, state: Tensor) -> Tensor:
        """Chunks in robot units -> model units.

        Args:
            actions: (B, H, D).
            state: (B, S), measured at the tick of each chunk, in robot units.
        """
        return self.action.apply(self.to_relative(actions, state))

    def decode_chunk(self, chunk: Tensor, state: Tensor) -> Tensor:
        """The inverse of `encode_chunk`."""
        return self._shift(self.action.invert(chunk), state)

    def to_relative(self, actions: Tensor, state: Tensor) -> Tensor:
        """Subtract the state from the relative columns, (B, H, D) in robot units."""
        return self._shift(actions, -state)

    def _shift(self, actions: Tensor, state: Tensor) -> Tensor:
        if not self._relative:
            return actions
        shifted = actions.clone()
        shifted[..., self._relative] += state[:, None, self._relative]
        return shifted


OBJECT_FEATURES = ("x", "y", "z", "axis x", "axis y", "axis z")
"""What `environment_features` gives of an object."""


def environment_features(environment: np.ndarray) -> np.ndarray:
    """What the state policy sees of the objects: position and x axis of each.

    One axis identifies the heading of a bar or a slice and does not jump the way a quaternion
    does between q and -q.

    Args:
        environment: (..., n, 7) poses x y z qx qy qz qw, world frame.

    Returns:
        (..., 6 n) float32.
    """
    environment = np.asarray(environment, dtype=np.float32)
    if environment.ndim < 2 or environment.shape[-1] != 7:
        raise LayoutError(f"object poses have shape {environment.shape}, must be (..., n, 7)")
    x, y, z, w = np.moveaxis(environment[..., 3:], -1, 0)
    axis = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)], axis=-1)
    features = np.concatenate([environment[..., :3], axis], axis=-1)
    return features.reshape(*environment.shape[:-2], -1).astype(np.float32)
