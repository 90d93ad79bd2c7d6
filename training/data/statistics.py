"""Statistics of the training data, from which the transforms are made."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ate_core.errors import TrainingError
from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics
from training.data.moments import Moments

STD_FLOOR = 0.01
"""Smallest std [rad, ratio or m]: an idle arm must not turn its sensor noise into a signal."""


def unit_statistics(statistics: VectorStatistics) -> VectorStatistics:
    """Statistics that leave values in their units; quantiles are kept for the record."""
    size = statistics.size
    return VectorStatistics(
        mean=(0.0,) * size, std=(1.0,) * size, q01=statistics.q01, q99=statistics.q99
    )


def vector_statistics(
    values: np.ndarray, name: str, moments: Sequence[Moments] = ()
) -> VectorStatistics:
    """Mean, floored std and quantiles over rows, in float64.

    Args:
        values: (N, D).
        name: What the vector is, for the error message.
        moments: Of the columns, where they are known: mean and std are then exact.
    """
    if values.ndim != 2 or len(values) < 2:
        raise TrainingError(f"{name} has shape {values.shape}: statistics need at least 2 rows")
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise TrainingError(
            f"{name} holds {values[row, column]} at row {row}, entry {column} "
            f"({np.count_nonzero(~finite)} in all): drop that episode or convert it again"
        )
    q01, q99 = np.quantile(values, [0.01, 0.99], axis=0)
    mean = [one.mean for one in moments] or values.mean(axis=0).tolist()
    std = [one.std for one in moments] or values.std(axis=0).tolist()
    return VectorStatistics(
        mean=tuple(mean),
        std=tuple(max(one, STD_FLOOR) for one in std),
        q01=tuple(q01.tolist()),
        q99=tuple(q99.tolist()),
    )


def relative_statistics(
    absolute: Statistics, columns: tuple[int, ...], chunks: Tensor, states: Tensor, name: str
) -> Statistics:
    """Statistics of actions of which some columns are differences from the state.

    They are taken over whole chunks, after the state was subtracted.

    Args:
        absolute: Of the same data.
        columns: Those that become differences.
        chunks: (N, H, D), in robot units.
        states: (N, D), measured at the tick of each chunk.
        name: What the actions are of, for the error message.
    """
    relative = dataclasses.replace(absolute, relative=columns)
    differences = ChunkTransform(relative).to_relative(chunks, states)
    action = vector_statistics(differences.flatten(0, 1).numpy(), name)
    return dataclasses.replace(relative, action=action)
