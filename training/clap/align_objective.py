"""Loss of aligned video, Eq. 4 of CLAP.

L = |f - f_hat|^2 + lambda_vq L_VQ + lambda_con L_con + lambda_reg |z_i|_1

L_VQ has two terms per codebook as in Eq. 2; the codes of the action tokens are frozen, so only
the commitment to them is left. Norms are means over their elements; or sums over a sample, then
the whole is divided by the P F numbers of a frame, as `training.clap.objective` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ate_policy.models.action_tokens import straight_through
from training.clap.align_recipe import AlignRecipe
from training.clap.contrast import cosines_of, pairs_that_count
from training.clap.vd_vae import VdVae, VideoOutputs


@dataclass(frozen=True, kw_only=True, eq=False)
class References:
    """What the latents of B windows are pulled to, and what is known of the windows."""

    latents: Tensor
    """(B, A, N_q, W), without gradient."""
    codes: Tensor
    """(B, A, N_q) nearest codes of the latents."""
    valid: Tensor
    """(B, A) whether there is any."""
    idle: Tensor
    """(B, A) arms known to rest."""
    episode: Tensor
    """(B,) number of the episode."""


def contrast_of(
    model: VdVae, outputs: VideoOutputs, references: References, recipe: AlignRecipe
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 3 over the arms of all windows, each a row of its own, and cosines for the log.

    Args:
        model: Its temperature, bias, codes and space.
        outputs: Of all windows; of several processes, gathered.
        references: In the same order.
        recipe: What is compared with what.
    """
    latents, wanted = outputs.z_a, references.latents
    if recipe.contrast_of == "codes":
        latents = straight_through(outputs.z_a, outputs.q_a)
        wanted = model.action_book(references.codes)
    rows, arms = references.valid.flatten(), references.valid.shape[1]
    cosines = cosines_of(*(model.space(one.flatten(0, 1)) for one in (latents, wanted)))
    keep = rows[:, None] & rows[None]
    if recipe.negatives == "distinct":
        window = torch.arange(len(references.episode), device=rows.device)
        keep = pairs_that_count(
            valid=rows,
            window=window.repeat_interleave(arms),
            episode=references.episode.repeat_interleave(arms),
            codes=references.codes.flatten(0, 1),
            idle=references.idle.flatten(),
        )
    loss = model.contrast(cosines, keep)
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    logged = {
        "cosine_own": _mean(cosines, keep & own),
        "cosine_other": _mean(cosines, keep & ~own),
    }
    return loss, logged


def distance_of(model: VdVae, outputs: VideoOutputs, references: References) -> Tensor:
    """Mean square between latents and what they are pulled to, in the space of the cosines.

    A cosine says nothing of length, and a latent of another length has other codes.
    """
    apart = model.space(outputs.z_a.float()) - model.space(references.latents.float())
    squares = apart.square().mean(dim=-1) * references.valid
    distance: Tensor = squares.sum() / references.valid.sum().clamp(min=1)
    return distance


def video_loss(
    outputs: VideoOutputs,
    target: Tensor,
    contrast: Tensor,
    recipe: AlignRecipe,
    distance: Tensor | None = None,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Eq. 4, and its terms for the log, each per element of what it is a norm of.

    Args:
        outputs: Of the network; bfloat16 is allowed.
        target: (B, P, F) features of t + H.
        contrast: Eq. 3.
        recipe: Norms and weights.
        distance: Of `distance_of`; None: no part of the loss, as in the paper.
    """
    z_i = outputs.z_i
    if recipe.sparse_of == "codes":
        z_i = straight_through(outputs.z_i, outputs.q_i)
    terms = {
        "reconstruction": (outputs.predicted.float() - target.float()).square(),
        "commitment_a": (outputs.z_a.float() - outputs.q_a.detach().float()).square(),
        "commitment_i": (outputs.z_i.float() - outputs.q_i.detach().float()).square(),
        "book_i": (outputs.z_i.detach().float() - outputs.q_i.float()).square(),
        "sparse": z_i.float().abs(),
    }
    numbers = target[0].numel()
    commitment, book = (recipe.beta if recipe.beta_on == one else 1.0 for one in _BETA_ON)
    weights = {
        "reconstruction": 1.0,
        "commitment_a": recipe.weight_vq * commitment,
        "commitment_i": recipe.weight_vq * commitment,
        "book_i": recipe.weight_vq * book,
        "sparse": recipe.weight_sparse,
    }
    summed = recipe.norms == "sum"
    aligned = recipe.weight_contrast * contrast
    if distance is not None:
        aligned = aligned + recipe.weight_distance * distance
    loss = aligned / (numbers if summed else 1)
    for name, weight in weights.items():
        share = terms[name][0].numel() / numbers if summed else 1.0
        loss = loss + weight * share * terms[name].mean()
    logged = {"contrast": contrast, **{name: term.mean() for name, term in terms.items()}}
    return loss, logged if distance is None else logged | {"distance": distance}


_BETA_ON = ("commitment", "book")


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Of the marked ones; NaN where there is none."""
    return values[mask].mean() if mask.any() else values.new_tensor(float("nan"))
