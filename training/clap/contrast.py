"""Pull the latent of a video pair towards that of its motion, away from others (CLAP, Eq. 3).

L = -log s((s_p - b) / tau) - sum_j log(1 - s((s_nj - b) / tau))

with s the sigmoid, s_p and s_nj cosines of whole sequences. It is the loss of SigLIP (arXiv
2303.15343), there written with the logit e^t cos + b: e^t = 1 / tau, b_SigLIP = -b / tau.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

START_SCALE, START_BIAS = 10.0, -10.0
"""e^t and b at the start (SigLIP, released): with b 0 the negatives would rule the first steps."""


class SigmoidContrast(nn.Module):
    """The two learned numbers of the loss; neither has weight decay."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))
        self.bias = nn.Parameter(torch.tensor(START_BIAS))

    def forward(self, cosines: Tensor, keep: Tensor) -> Tensor:
        """Mean over the rows that are kept.

        Args:
            cosines: (R, R) of latents with references; equal places belong together.
            keep: (R, R) pairs that count; a row whose own pair does not count has no loss.
        """
        return contrast_loss(cosines, self.log_scale.exp(), self.bias, keep)


def contrast_loss(
    cosines: Tensor, scale: Tensor | float, bias: Tensor | float, keep: Tensor | None = None
) -> Tensor:
    """Eq. 3 with the logit scale cos + bias: sums over pairs, a mean over rows.

    Args:
        cosines: (R, R); the diagonal holds s_p.
        scale: 1 / tau.
        bias: -b / tau.
        keep: (R, R) pairs that count; None: all.
    """
    logits = scale * cosines.float() + bias
    own = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
    terms = functional.softplus(torch.where(own, -logits, logits))  # -log s(x) = softplus(-x)
    if keep is None:
        return terms.sum() / len(cosines)
    keep = keep & keep.diagonal()[:, None]
    return (terms * keep).sum() / keep.diagonal().sum().clamp(min=1)


def cosines_of(latents: Tensor, references: Tensor) -> Tensor:
    """Cosines of flattened sequences, (R, ...) twice -> (R, R).

    Args:
        latents: Of video pairs, in the coordinates of a `LatentSpace`.
        references: Of motion, likewise.
    """
    one, other = (
        functional.normalize(values.float().flatten(1), dim=1) for values in (latents, references)
    )
    return one @ other.T


def pairs_that_count(
    valid: Tensor, window: Tensor, episode: Tensor, codes: Tensor, idle: Tensor
) -> Tensor:
    """Which pairs of rows are told apart, (R, R).

    An arm that rests has the same latent in every window, and neighbours of one episode have
    nearly the same: as negatives they would say the opposite of what is true.

    Args:
        valid: (R,) rows with a reference.
        window: (R,) number of the pair of frames; its other arm is a negative of it.
        episode: (R,) number of the episode.
        codes: (R, N) codes of the references.
        idle: (R,) arms known to rest.
    """
    equal = (codes[:, None] == codes[None]).all(-1)
    same_episode = episode[:, None] == episode[None]
    same_window = window[:, None] == window[None]
    both_idle = idle[:, None] & idle[None]
    confused = (same_episode & ~same_window) | equal | both_idle
    confused.fill_diagonal_(False)
    return valid[:, None] & valid[None] & ~confused
