"""From a checkpoint to a network on a device, in a precision, without drawing weights first.

In bf16 every weight is cast once. Tables of frequencies and masks are not weights: they are built,
stay in fp32 and only change device. So does the chunk that a sampler integrates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ate_core.errors import CheckpointError, UsageError
from ate_policy.checkpoint import Checkpoint
from ate_policy.models.interface import Network
from ate_policy.models.registry import policy_entry

Precision = Literal["auto", "fp32", "bf16"]
"""What a network computes in; auto: bf16 where that pays."""


def find_device(name: str) -> torch.device:
    """The device of a name; `auto` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device '{name}' is unknown: use auto, cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device '{name}' is unknown: use auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device '{name}' is not there: use cpu, or install torch for CUDA")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise UsageError(f"device '{name}' is not there: this machine has {count}, from cuda:0 on")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device '{name}' is not there: this machine has {torch.cuda.device_count()} GPUs"
        )
    return device


def find_dtype(precision: str, kind: str, device: torch.device) -> torch.dtype:
    """The type of a network's weights; `auto` is bf16 for a large one on a GPU."""
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise UsageError(f"precision '{precision}' is unknown: use {known}")
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and policy_entry(kind).large else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def restore_model(
    checkpoint: Checkpoint,
    device: torch.device = torch.device("cpu"),  # noqa: B008, immutable
    dtype: torch.dtype = torch.float32,
) -> Network:
    """The network of a checkpoint with its weights.

    Args:
        checkpoint: As loaded.
        device: Where the network shall run.
        dtype: Of its weights.
    """
    entry = policy_entry(checkpoint.kind)
    try:
        config = entry.config(**checkpoint.model)
        with without_weights():
            model = entry.build(config)
        model.load_state_dict(placed_weights(checkpoint.weights, device, dtype), assign=True)
    except (TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"weights do not fit config.json ({reason}): train again") from None
    return model.to(device)


def placed_weights(
    weights: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Weights of a checkpoint, ready to be assigned to a network.

    Each goes from the file, which is mapped into memory, to its device by itself. It is copied on
    the CPU, too: a file may be overwritten, and its numbers lie unaligned.

    Args:
        weights: By name.
        device: Where the network shall be.
        dtype: Of its numbers; integers stay what they are.
    """
    return {
        name: value.to(device, dtype if value.is_floating_point() else value.dtype, copy=True)
        for name, value in weights.items()
    }


@contextmanager
def without_weights() -> Iterator[None]:
    """Networks built in here have parameters of the right shapes that hold no numbers.

    Nothing is drawn and no memory is written: 3.2 G parameters take half a second. Buffers are
    real, those too that no checkpoint holds. It applies to all threads.
    """

    def drop(_: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None:
            return None
        return nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    # declared to return nothing; what it returns is registered instead
    handle = register_module_parameter_registration_hook(drop)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()
