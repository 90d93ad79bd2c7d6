"""Count what guidance adds to a training step of the published pi0, in operations.

    python benchmarks/guided_step_flops.py

Nothing is computed: the networks live on the meta device, where a counter sees every matrix
product. A plain step is a forward and a backward pass of all parameters; guidance is one gradient
of the frozen encoder's latent distance, for each chunk: an encoder pass and its way back to the
input, the latents of clean chunks being kept. Both grow alike with the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from torch.utils.flop_counter import FlopCounterMode

from ate_policy.models.interface import Inputs
from ate_policy.models.pi0 import Pi0, Pi0Config
from training.configs.train_vae import PRESETS
from training.objectives.latent_guidance import latent_energy
from training.vae.model import ActionVae, VaeConfig

BOUND = 0.05
"""Largest share of a plain step that guidance may cost."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Count a guided training step; defaults: the paper's networks."""

    horizon: int = 50
    """Actions per chunk."""
    cameras: int = 3
    """Images of 224 px per observation."""
    prompt: int = 20
    """Prompt tokens, start and newline included."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Operations for one chunk, a multiplication and an addition counting two."""

    plain: int
    """Training step of pi0 without guidance."""
    guidance: int
    """Gradient of the latent distance."""

    @property
    def ratio(self) -> float:
        """Share that guidance adds."""
        return self.guidance / self.plain


def main(config: BenchmarkConfig) -> int:
    """Print both counts and their ratio; 0 where it is within the bound."""
    result = count(config)
    print(f"plain step  {result.plain / 1e12:8.3f} TFLOP per chunk")
    print(f"guidance    {result.guidance / 1e12:8.3f} TFLOP per chunk")
    print(f"ratio       {result.ratio:8.2%} (at most {BOUND:.0%})")
    return 0 if result.ratio <= BOUND else 1


def count(config: BenchmarkConfig) -> Result:
    """Count on the meta device."""
    with torch.device("meta"):
        return Result(plain=operations(_plain(config)), guidance=operations(_guidance(config)))


def build_pi0(
    horizon: int, cameras: int, prompt: int, dtype: torch.dtype = torch.float32, **sizes: Any
) -> tuple[Pi0, Inputs]:
    """A pi0 of the published sizes but for some, and an observation of zeros.

    Args:
        horizon: Actions per chunk.
        cameras: Images per observation.
        prompt: Prompt tokens, start and newline included.
        dtype: Of weights and observation.
        sizes: Fields of its configuration that are others.
    """
    made = Pi0Config(
        horizon=horizon,
        cameras=tuple(f"camera_{index}" for index in range(cameras)),
        tokenizer="bytes",
        **sizes,
    )
    size = (made.image_height, made.image_width)
    inputs = Inputs(
        state=torch.zeros(1, made.state_size, dtype=dtype),
        images=torch.zeros(1, cameras, 3, *size, dtype=dtype),
        instructions=("a" * (prompt - 2),),
    )
    return Pi0(made).to(dtype), inputs


def _plain(config: BenchmarkConfig) -> Callable[[], None]:
    model, inputs = build_pi0(config.horizon, config.cameras, config.prompt)
    noisy = torch.empty(1, config.horizon, model.config.max_action_size)
    return lambda: model(noisy, torch.empty(1), inputs).square().mean().backward()


def _guidance(config: BenchmarkConfig) -> Callable[[], None]:
    """The paper's action VAE: latent 512, 9 + 9 layers; chunks as wide as pi0's."""
    sizes = VaeConfig(horizon=config.horizon, action_size=32, **PRESETS["paper"].sizes())
    encoder = ActionVae(sizes).requires_grad_(False)
    clean, eps = torch.empty(1, config.horizon, sizes.action_size), torch.empty(1, sizes.latent)
    latent = torch.empty(1, 2 * sizes.latent)
    noisy = torch.empty_like(clean).requires_grad_(True)

    # As `guidance_gradient`, in the form that the counter and the meta device take.
    return lambda: latent_energy(encoder, noisy, clean, eps, latent).sum().backward()


def operations(function: Callable[[], object]) -> int:
    """Of the matrix products of a call, a multiplication and an addition counting two."""
    with FlopCounterMode(display=False) as counter:
        function()
    total: int = counter.get_total_flops()
    return total


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(BenchmarkConfig, description=__doc__)))
