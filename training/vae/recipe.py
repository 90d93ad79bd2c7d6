"""The choices in which the paper, its released code and the ablations differ, by name.

`--match reference` computes what the released code computes, so that its results can be compared.
Every run stores its choices and those that are not the paper's in its checkpoint and model card.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from training.configs.paper_choices import PaperChoices
from training.configs.train_vae import KlDirection, LatentHead, TrainVaeConfig

PAPER_SAYS = {
    "prior": "stage 1",
    "kl": "reverse",
    "mmd_distance": "sum",
    "mmd_target": "prior",
    "moments": "total variance",
    "latent_head": "norm",
    "weight_kl": 7.5e-5,
    "weight_mmd": 1.0,
    "input_noise": 0.0,
}
"""Choices that the paper (arXiv 2509.02055) or the formulas it cites fix; no word on others."""


@dataclass(frozen=True, kw_only=True)
class Recipe(PaperChoices):
    """How a VAE is trained; the defaults are ours."""

    paper_says: ClassVar = PAPER_SAYS

    prior: Literal["stage 1", "N(0, I)"] = "stage 1"
    """Prior of stage 2: the aggregate posterior of stage 1, or none of it."""
    kl: KlDirection = "reverse"
    """Direction of the KL divergence in stage 2; stage 1 always takes KL(q(z|a) || N(0, I))."""
    mmd_distance: Literal["sum", "mean"] = "sum"
    """Squared distance in the MMD kernel: summed over the latent, or its mean (released)."""
    mmd_diagonal: bool = False
    """Keep k(x, x) in the MMD's means, a bias of about 2 / batch."""
    mmd_target: Literal["prior", "N(0, I)"] = "prior"
    """Whose samples the MMD of stage 2 compares with."""
    moments: Literal["total variance", "mean sigma, noised"] = "total variance"
    """Moments kept for stage 2: m and E[sigma^2] + Var[mu] on clean chunks, or, as released,
    m and E[sigma]^2 on noised ones."""
    latent_head: LatentHead = "linear"
    """Latent from linear maps behind the last norm, or from the norm itself."""
    weight_kl: float = 7.5e-5
    """w_kl."""
    weight_mmd: float = 1.0
    """w_mmd."""
    input_noise: float = 0.0
    """Largest share of noise in the encoder's input."""
    schedule: Literal["cosine", "epochs"] = "cosine"
    """Random draws and a cosine, or shuffled epochs with the rate times 0.95 after each."""
    weights: Literal["torch", "xavier"] = "torch"
    """Initial weights: torch's own, or Xavier uniform in the transformer (released)."""
    tail: Literal["repeat", "drop"] = "repeat"
    """Chunks behind an episode's end repeat its last action, as the policies', or are left out."""
    normalised: bool = True
    """Chunks in the policies' normalised space, or in robot units."""


REFERENCE = Recipe(
    kl="forward",
    mmd_distance="mean",
    mmd_diagonal=True,
    mmd_target="N(0, I)",
    moments="mean sigma, noised",
    latent_head="norm",
    schedule="epochs",
    weights="xavier",
    tail="drop",
)
"""As the released code; `--no-normalise` adds its raw units."""


def recipe_of(config: TrainVaeConfig) -> Recipe:
    """The choices of a run: those of `--match`, with what the options say instead."""
    base = REFERENCE if config.match == "reference" else Recipe()
    kl = "reverse" if config.stage == 1 else config.kl or base.kl
    return replace(
        base,
        prior="N(0, I)" if config.single_stage else "stage 1",
        kl=kl,
        latent_head=config.latent_head or base.latent_head,
        weight_kl=config.weight_kl,
        weight_mmd=config.weight_mmd,
        input_noise=config.input_noise,
        normalised=config.normalise,
    )
