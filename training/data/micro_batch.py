"""A batch shared by processes and forward passes, in equal slices."""

import dataclasses
from collections.abc import Iterator

from torch import Tensor

from ate_core.errors import UsageError


@dataclasses.dataclass(frozen=True)
class MicroBatch:
    """A slice of the global batch that is trained on in one forward pass."""

    begin: int
    """First observation."""
    end: int
    """Behind the last observation."""
    last: bool
    """Whether it ends the step: then processes average their gradients and the optimiser moves."""

    def of(self, values: Tensor) -> Tensor:
        """Rows of this micro-batch."""
        return values[self.begin : self.end]

    def times(self, rows: int) -> "MicroBatch":
        """The same slice of values with several rows per observation."""
        return dataclasses.replace(self, begin=self.begin * rows, end=self.end * rows)


def split(count: int, *, processes: int, process: int, accumulate: int) -> Iterator[MicroBatch]:
    """The micro-batches of one process, all of one size: the mean of their means is the mean.

    Args:
        count: Observations of the global batch.
        processes: That share it.
        process: Index of this one.
        accumulate: Forward passes of each per step.
    """
    size, rest = divmod(count, processes * accumulate)
    if rest or size == 0:
        raise UsageError(
            f"a batch of {count} observations cannot be shared equally by {processes} processes "
            f"x {accumulate} micro-batches: choose a batch that has a multiple of "
            f"{processes * accumulate}"
        )
    first = process * accumulate
    for index in range(first, first + accumulate):
        last = index == first + accumulate - 1
        yield MicroBatch(index * size, (index + 1) * size, last)
