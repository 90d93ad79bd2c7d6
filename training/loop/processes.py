"""One training run on one or many processes, through `accelerate`.

Every process draws the whole global batch of a step, rows and noise, from the same generators,
and trains on its share. What is learned then does not depend on the number of processes or of
micro-batches, up to the order of sums.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from ate_core.errors import TrainingError, UsageError
from training.loop.allocator import keep_freed_memory

Precision = Literal["fp32", "bf16"]


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


def make_accelerator() -> Accelerator:
    """The processes that this run was started with (one, or those of `accelerate launch`).

    The precision is not its business: it would be one for the life of the process.
    """
    accelerator = Accelerator(mixed_precision="no")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return accelerator


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Forward passes in bfloat16 where it is safe; weights stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def micro_batches(accelerator: Accelerator, count: int, accumulate: int) -> Iterator[MicroBatch]:
    """This process's share of a batch of `count` observations, in `accumulate` micro-batches."""
    size = micro_batch_size(accelerator.num_processes, count, accumulate)
    first = accelerator.process_index * accumulate
    for index in range(first, first + accumulate):
        last = index == first + accumulate - 1
        yield MicroBatch(index * size, (index + 1) * size, last)


def micro_batch_size(processes: int, count: int, accumulate: int) -> int:
    """Observations per forward pass; equal everywhere, so that the mean of means is the mean."""
    size, rest = divmod(count, processes * accumulate)
    if rest or size == 0:
        raise UsageError(
            f"a batch of {count} observations cannot be shared equally by {processes} processes "
            f"x {accumulate} micro-batches: choose --batch so that it has a multiple of "
            f"{processes * accumulate}"
        )
    return size


def no_sync(
    accelerator: Accelerator, network: nn.Module, micro_batch: MicroBatch
) -> AbstractContextManager[None]:
    """Gradients stay on their process, but for the last micro-batch: its backward averages."""
    return nullcontext() if micro_batch.last else accelerator.no_sync(network)


def agree(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is set on any process: all must leave the loop at the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)


def gather_rows(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Rows of all processes (B', ...) -> (P B', ...), differentiable.

    For losses that are no mean over samples. Every process computes the whole loss; the backward
    pass sums the processes' gradients and averaging them afterwards gives the gradient.
    """
    if accelerator.num_processes == 1:
        return values
    return torch.cat(all_gather(values))


def leave(accelerator: Accelerator) -> None:
    """End together: a process that leaves while another one saves would break its link."""
    accelerator.wait_for_everyone()
    accelerator.end_training()


def mean_metrics(
    accelerator: Accelerator, metrics: Sequence[Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Means over micro-batches and processes; every process must call it.

    NaN stands for a metric that a micro-batch had no sample for, and is left out of the mean.
    """
    values = torch.stack([torch.stack([m[name].detach().float() for name in m]) for m in metrics])
    values = accelerator.gather(values)
    return dict(zip(metrics[0], values.nanmean(dim=0), strict=True))


def memory_estimate(model: nn.Module, average: bool) -> str:
    """What weights, gradients and optimiser will take, in words; activations come on top."""
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    copies = 4 if average else 3  # gradient, two moments, average
    gigabytes = 4e-9 * (total + copies * trained)
    return (
        f"{total / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained: {gigabytes:.1f} GB for "
        f"weights, gradients, Adam's moments{' and the average' if average else ''}, "
        "activations come on top"
    )


@contextmanager
def explain_memory(remedy: str) -> Iterator[None]:
    """Out of memory becomes an error that says what to try; for use as a decorator.

    Args:
        remedy: What the command offers.
    """
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
        if "out of memory" not in str(error):
            raise
        reason = " ".join(str(error).split(".")[0].split())[:200]
        raise TrainingError(f"out of memory ({reason}): {remedy}") from None
