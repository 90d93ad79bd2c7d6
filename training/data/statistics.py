"""Statistics of the training data, from which the transforms are made."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ate_core.errors import TrainingError
from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics
from training.data.chunk_rows import Windows
from training.data.exact_quantiles import Blocks, exact_quantiles
from training.data.moments import Moments, mean_and_std

STD_FLOOR = 0.01
"""Smallest std [rad, ratio or m]: an idle arm must not turn its sensor noise into a signal."""
SAME_SCALE = 1e-5
"""Distance of two means or deviations that are the same: openpi adds 1e-6 to its deviations."""
SHARES = (0.01, 0.99)
"""Of the values below q01 and q99."""
ROWS, CHUNKS = 65_536, 4_096
"""Rows, and chunks, worked on at once."""


def unit_statistics(statistics: VectorStatistics) -> VectorStatistics:
    """Statistics that leave values in their units; quantiles are kept for the record."""
    size = statistics.size
    return VectorStatistics(
        mean=(0.0,) * size, std=(1.0,) * size, q01=statistics.q01, q99=statistics.q99
    )


def vector_statistics(
    values: np.ndarray, name: str, moments: Sequence[Moments] = ()
) -> VectorStatistics:
    """Mean, floored std and quantiles over rows.

    Args:
        values: (N, D).
        name: What the vector is, for the error message.
        moments: Of the columns, where they are known: mean and std are then exact.
    """
    if values.ndim != 2 or len(values) < 2:
        raise TrainingError(f"{name} has shape {values.shape}: statistics need at least 2 rows")
    _refuse_not_finite(values, name)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(values), ROWS):
            yield values[start : start + ROWS].astype(np.float32)

    if moments:
        mean, std = [one.mean for one in moments], [one.std for one in moments]
    else:
        mean, std = mean_and_std(blocks)
    return _table(mean, std, blocks)


def relative_statistics(
    absolute: Statistics,
    columns: tuple[int, ...],
    actions: Tensor,
    windows: Tensor | Windows,
    states: Tensor,
    name: str,
) -> Statistics:
    """Statistics of actions of which some columns are differences from the state.

    They are taken over whole chunks, after the state was subtracted. The chunks, many times as
    large as the actions, are made some at a time.

    Args:
        absolute: Of the same data.
        columns: Those that become differences.
        actions: (R, D), in robot units.
        windows: (N, H) rows of each chunk.
        states: (N, D), measured at the tick of each chunk.
        name: What the actions are of, for the error message.
    """
    relative = dataclasses.replace(absolute, relative=columns)
    transform = ChunkTransform(relative)
    _refuse_not_finite(actions.numpy(), name)
    _refuse_not_finite(states.numpy(), name)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(windows), CHUNKS):
            part = slice(start, start + CHUNKS)
            chunks = transform.to_relative(actions[windows[part]], states[part])
            yield chunks.flatten(0, 1).numpy()

    return dataclasses.replace(relative, action=_table(*mean_and_std(blocks), blocks))


def _table(mean: Sequence[float], std: Sequence[float], blocks: Blocks) -> VectorStatistics:
    q01, q99 = exact_quantiles(blocks, SHARES)
    return VectorStatistics(
        mean=tuple(mean),
        std=tuple(max(one, STD_FLOOR) for one in std),
        q01=tuple(q01.tolist()),
        q99=tuple(q99.tolist()),
    )


def quantile_statistics(statistics: Statistics) -> Statistics:
    """The same with "mean" and "std" that bring the 1 % and 99 % quantiles to -1 and 1.

    What pi0.5 reads; a range that is narrower than the floor is widened, as a std is.
    """

    def between(one: VectorStatistics) -> VectorStatistics:
        low, high = np.asarray(one.q01), np.asarray(one.q99)
        half = np.maximum((high - low) / 2.0, STD_FLOOR)
        middle = (low + high) / 2.0
        return dataclasses.replace(one, mean=tuple(middle.tolist()), std=tuple(half.tolist()))

    environment = statistics.environment
    return dataclasses.replace(
        statistics,
        state=between(statistics.state),
        action=between(statistics.action),
        environment=None if environment is None else between(environment),
    )


def is_by_quantiles(statistics: Statistics) -> bool:
    """Whether actions are scaled as by `quantile_statistics`, and not by mean and deviation."""
    action = statistics.action
    scaled = quantile_statistics(statistics).action
    rests = np.asarray(scaled.std) <= STD_FLOOR  # other code has floors of its own
    widths = np.isclose(action.std, scaled.std, rtol=0.0, atol=SAME_SCALE)
    middles = np.isclose(action.mean, scaled.mean, rtol=0.0, atol=SAME_SCALE)
    return bool((middles & (widths | rests)).all())


def _refuse_not_finite(values: np.ndarray, name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise TrainingError(
            f"{name} holds {values[row, column]} at row {row}, entry {column} "
            f"({np.count_nonzero(~finite)} in all): drop that episode or convert it again"
        )
