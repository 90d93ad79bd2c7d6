"""One training run on one or many processes, through `accelerate`.

Every process draws the whole global batch of a step, rows and noise, from the same generators,
and trains on its share. What is learned then does not depend on the number of processes or of
micro-batches, up to the order of sums.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from training.configs.run import Precision
from training.data.micro_batch import MicroBatch, split
from training.loop.memory import keep_freed_memory


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


def micro_batches(accelerator: Accelerator, count: int, accumulate: int) -> list[MicroBatch]:
    """This process's share of a batch of `count` observations, in `accumulate` micro-batches."""
    return list(
        split(
            count,
            processes=accelerator.num_processes,
            process=accelerator.process_index,
            accumulate=accumulate,
        )
    )


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
