"""Count what a chunk of the published pi0 takes: products, weights that are read, kernels.

    python benchmarks/pi0_chunk_work.py

Products and weights are those of the published sizes, on the meta device. Kernels depend on layers
and steps only, so they are counted on a narrow network: every operator that computes, one for each
norm that a GPU has a kernel for, beside transformers' own sampler with the same weights. The times
are what a card takes for the products alone, and for reading the weights alone, at its peak:
whatever a chunk takes above the larger one is kernels that do not fill the card.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ate_policy.models.interface import Inputs
from ate_policy.models.pi0 import Pi0
from ate_policy.models.pi0_layers import embed_suffix, predict_velocity
from ate_policy.models.pi0_sampler import FoldedExpert
from benchmarks.guided_step_flops import build_pi0, operations
from benchmarks.pi0_sampler import as_transformers

NO_KERNEL = {
    "_unsafe_view", "alias", "as_strided", "detach", "empty", "empty_like", "empty_strided",
    "expand", "lift_fresh", "new_empty", "permute", "scalar_tensor", "select", "slice", "split",
    "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view",
}  # fmt: skip
"""Operators that compute nothing: other shapes of the same numbers, room for new ones."""

NARROW: Mapping[str, Any] = {
    "vocabulary": 260,
    "head_width": 16,
    "text_width": 64,
    "text_feedforward": 64,
    "expert_width": 64,
    "expert_feedforward": 64,
    "vision_heads": 2,
    "vision_width": 32,
    "vision_feedforward": 64,
    "image_height": 28,
    "image_width": 28,
}
"""Sizes of a network that launches the same kernels."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Count a chunk in bfloat16; defaults: the paper's sizes, and an H200."""

    horizon: int = 50
    """Actions per chunk."""
    cameras: int = 3
    """Images of 224 px per observation, at most 3."""
    prompt: int = 20
    """Prompt tokens, start and newline included."""
    steps: int = 10
    """Denoise steps."""
    tflops: float = 989.0
    """Dense bfloat16 products of the card per second [TFLOP/s]; RTX 4090: 165."""
    bandwidth: float = 4.8
    """Of the card's memory [TB/s]; RTX 4090: 1.01."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Work of the prefix, or of all denoise steps."""

    flop: int
    """Of products, a multiplication and an addition counting two."""
    weights: int
    """Read, once in each step [bytes]."""
    kernels: int
    """Launched by our sampler."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Work for one chunk."""

    prefix: Part
    steps: Part
    theirs: int
    """Kernels that transformers' sampler launches for both."""


def main(config: BenchmarkConfig) -> int:
    """Print what a chunk takes."""
    result = count(config)
    print(f"{'':12} {'TFLOP':>8} {'[ms]':>6} {'GB read':>8} {'[ms]':>6} {'kernels':>8}")
    for name, part in (("prefix", result.prefix), (f"{config.steps} steps", result.steps)):
        print(
            f"{name:12} {part.flop / 1e12:8.2f} {part.flop / 1e9 / config.tflops:6.1f} "
            f"{part.weights / 1e9:8.2f} {part.weights / 1e9 / config.bandwidth:6.1f} "
            f"{part.kernels:8}"
        )
    ours = result.prefix.kernels + result.steps.kernels
    print(f"transformers launches {result.theirs} kernels, {result.theirs / ours:.1f} times more")
    return 0


def count(config: BenchmarkConfig) -> Result:
    """Products and weights of the published sizes, kernels of a narrow network."""
    prefix, steps, theirs = count_kernels(config)
    with torch.device("meta"), torch.no_grad():
        model, inputs = _build(config)
        encoding = operations(lambda: model.encode(inputs))
        denoising = config.steps * operations(_step_of(model, inputs))
    vlm = model.network.model.vlm
    *layers, last = vlm.language_model.layers
    seen = (vlm.vision_tower, vlm.multi_modal_projector) if config.cameras else ()
    read = _bytes([*seen, *layers, last.self_attn.k_proj, last.self_attn.v_proj])
    expert = _bytes([model.network.model.dit, model.network.embed_action_time])
    return Result(
        prefix=Part(flop=encoding, weights=read, kernels=prefix),
        steps=Part(flop=denoising, weights=config.steps * expert, kernels=steps),
        theirs=theirs,
    )


@torch.no_grad()
def count_kernels(config: BenchmarkConfig) -> tuple[int, int, int]:
    """Kernels of our prefix, of our denoise steps, and of transformers' sampler."""
    model, inputs = _build(config, **NARROW)
    expert = FoldedExpert(model.network, config.steps)
    noise = torch.randn(1, config.horizon, model.config.max_action_size)
    with CountKernels() as prefix:
        encoded = model.encode(inputs)
    with CountKernels() as steps:
        expert.denoise(*encoded, noise)
    words = as_transformers(model, inputs)
    with CountKernels() as theirs:
        model.network.sample_actions(noise=noise.bfloat16(), num_steps=config.steps, **words)
    return prefix.kernels, steps.kernels, theirs.kernels


class CountKernels(TorchDispatchMode):
    """Counts operators that compute; a norm that a GPU has one kernel for is one."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0
        self._norms = _CountNorms()

    def __enter__(self) -> "CountKernels":
        self._norms.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._norms.__exit__(*error)
        self.kernels += self._norms.count

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Count an operator and call it."""
        name = func.overloadpacket.__name__
        self.kernels += name not in NO_KERNEL and not self._norms.inside
        return func(*args, **(kwargs or {}))


class _CountNorms(TorchFunctionMode):
    """Counts RMS norms, which a CPU takes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.inside = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call a function; of a norm, remember that its parts do not count."""
        if func is not functional.rms_norm:
            return func(*args, **(kwargs or {}))
        self.count, self.inside = self.count + 1, True
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.inside = False


def _build(config: BenchmarkConfig, **sizes: Any) -> tuple[Pi0, Inputs]:
    return build_pi0(config.horizon, config.cameras, config.prompt, torch.bfloat16, **sizes)


def _step_of(model: Pi0, inputs: Inputs) -> Callable[[], object]:
    """One denoise step; transformers' layers multiply what the folded ones do."""
    prefix, state = model.encode(inputs)
    shape = (1, model.config.horizon, model.config.max_action_size)
    noisy, level = torch.zeros(shape, dtype=state.dtype), torch.zeros(1)

    def step() -> object:
        suffix = embed_suffix(model.network, state, noisy, level)
        return predict_velocity(model.network, prefix, suffix)

    return step


def _bytes(modules: Sequence[nn.Module]) -> int:
    return sum(p.nbytes for module in modules for p in module.parameters())


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(BenchmarkConfig, description=__doc__)))
