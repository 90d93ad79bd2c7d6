"""A batch of the VAE and its loss, as a recipe says.

L = SmoothL1(a_hat, a) + w_kl KL + w_mmd MMD, each a mean over its elements.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from training.data.micro_batch import MicroBatch
from training.vae.losses import DiagonalGaussian, kl_from_prior, kl_to_prior, mmd
from training.vae.recipe import Recipe


@dataclass(frozen=True)
class VaeBatch:
    """What decides a step."""

    actions: Tensor
    """(B, H, D) chunks to reconstruct."""
    seen: Tensor
    """(B, H, D) what the encoder sees of them."""
    eps: Tensor
    """(B, L) noise of z."""
    samples: Tensor
    """(B, L) of the MMD's target."""

    def of(self, micro_batch: MicroBatch, device: torch.device) -> "VaeBatch":
        """The chunks of one process; the MMD compares all of z with all samples."""
        return VaeBatch(
            actions=micro_batch.of(self.actions).to(device),
            seen=micro_batch.of(self.seen).to(device),
            eps=micro_batch.of(self.eps).to(device),
            samples=self.samples.to(device),
        )


def draw_batch(
    actions: Tensor, prior: DiagonalGaussian, recipe: Recipe, generator: torch.Generator
) -> VaeBatch:
    """Draw the noise of a batch of chunks (B, H, D)."""
    seen = corrupt(actions, recipe.input_noise, generator)
    size = len(prior.mean)
    eps = torch.randn(len(actions), size, generator=generator)
    target = prior if recipe.mmd_target == "prior" else DiagonalGaussian.standard(size)
    return VaeBatch(actions, seen, eps, target.sample(len(actions), generator))


def corrupt(actions: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """(1 - s) a + s noise with one s ~ U(0, largest) per chunk: a point of the flow's path."""
    if largest == 0.0:
        return actions
    share = largest * torch.rand(len(actions), 1, 1, generator=generator)
    return actions + share * (torch.randn(actions.shape, generator=generator) - actions)


def vae_loss(
    outputs: tuple[Tensor, Tensor, Tensor, Tensor],
    batch: VaeBatch,
    all_z: Tensor,
    prior: DiagonalGaussian,
    recipe: Recipe,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss in float32, and its terms for the log.

    Args:
        outputs: a_hat, z, mu, log sigma^2 of `ActionVae`; bfloat16 is allowed.
        batch: What they were made from.
        all_z: (B', L) z of all processes.
        prior: Of the KL.
        recipe: Direction, kernel and weights.
    """
    a_hat, _, mean, log_variance = (value.float() for value in outputs)
    divergence = kl_to_prior if recipe.kl == "reverse" else kl_from_prior
    terms = {
        "reconstruction": smooth_l1_loss(a_hat, batch.actions),
        "kl": divergence(mean, log_variance, prior),
    }
    loss = terms["reconstruction"] + recipe.weight_kl * terms["kl"]
    if recipe.weight_mmd > 0.0:
        terms["mmd"] = mmd(
            all_z.float(),
            batch.samples,
            distance=recipe.mmd_distance,
            diagonal=recipe.mmd_diagonal,
        )
        loss = loss + recipe.weight_mmd * terms["mmd"]
    return loss, {**terms, "sigma": log_variance.mul(0.5).exp().mean()}
