"""Low-rank adapters (LoRA, Hu et al. 2021): W becomes W + alpha / rank B A, and only A, B learn.

peft puts them into the network when a training begins; what is stored is merged, so that nothing
but training needs peft.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

BASE = ".base_layer."
FACTOR = ".lora_"
"""What peft calls the frozen map and the two factors beside it."""


def add_adapters(network: nn.Module, linears: Sequence[str], rank: int, alpha: float) -> None:
    """Put adapters beside linear maps; they change nothing until B has learned.

    Args:
        network: Changed in place.
        linears: Full names of the maps.
        rank: Rows of A.
        alpha: The change is scaled by alpha / rank.
    """
    from peft import LoraConfig, inject_adapter_in_model

    options: dict[str, Any] = {"r": rank, "lora_alpha": alpha}  # peft declares a whole alpha
    adapters = LoraConfig(**options, target_modules=list(linears))
    inject_adapter_in_model(adapters, network)


def merge_adapters(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights with adapters, by name -> plain weights, W + scale B A."""
    merged = {}
    for name, value in weights.items():
        if FACTOR in name:
            continue
        if BASE in name:
            linear, _, _ = name.partition(BASE)
            first = weights[f"{linear}.lora_A.default.weight"].float()
            second = weights[f"{linear}.lora_B.default.weight"].float()
            value = (value.float() + scale * second @ first).to(value.dtype)
        merged[name.replace(BASE, ".")] = value
    return merged


def accept_merged(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Hook of `load_state_dict`: a network with adapters takes plain weights as its base."""
    if any(FACTOR in name for name in weights):
        return
    for name, own in module.state_dict(prefix=prefix).items():
        plain = name.replace(BASE, ".")
        if FACTOR in name:
            weights[name] = own
        elif plain != name and plain in weights:
            weights[name] = weights.pop(plain)


def effective_weight(linear: Any) -> Tensor:
    """Weight of a linear map of torch, or of peft with its adapter."""
    if isinstance(linear, nn.Linear):
        return linear.weight
    return linear.get_base_layer().weight + linear.get_delta_weight("default")
