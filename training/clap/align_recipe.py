"""The choices in which CLAP's video alignment, its released code and this stack differ, by name.

As `training.clap.recipe` for the tokens: `--match`, the record of a run and its card use it.
"""

from dataclasses import dataclass
from typing import ClassVar

from training.clap.vd_config import Predicts
from training.configs.align_video import (
    AlignVideoConfig,
    Augmentation,
    ContrastOf,
    Negatives,
    Space,
    Target,
    VideoPositive,
)
from training.configs.paper_choices import PaperChoices
from training.configs.train_tokens import BetaOn, Norms, Restart

PAPER_SAYS: dict[str, object] = {
    "norms": "sum",
    "weight_contrast": 0.1,
    "weight_sparse": 0.5,
    "beta": 1.0,
    "beta_on": "commitment",
    "contrast_of": "continuous",
    "space": "raw",
    "weight_distance": 0.0,
    "negatives": "all",
    "sparse_of": "continuous",
    "target": "clean",
    "predicts": "frame",
    "video_positive": "teacher",
}
"""Choices that the paper (arXiv 2601.04061) fixes; no word on others."""

SIZES_SAID: dict[str, object] = {
    "env_codes": 2,
    "steps": "100 k (released: 50 k)",
    "batch": "256 (released: 32 per device)",
    "learning_rate": "2e-4 (released: 1e-4)",
    "encoder_layers": "released: 12 of width 768",
    "decoder_layers": "released: 12 of width 768",
}
"""Sizes of the paper, for the card."""


@dataclass(frozen=True, kw_only=True)
class AlignRecipe(PaperChoices):
    """How video is aligned; the defaults are ours."""

    paper_says: ClassVar = PAPER_SAYS
    sizes_said: ClassVar = SIZES_SAID

    norms: Norms = "mean"
    """Norms of Eq. 4 as means over their elements (released), or summed: then reconstruction, a
    sum over thousands of numbers, outweighs the contrast."""
    weight_vq: float = 1.0
    """lambda_vq; the paper gives no number."""
    weight_contrast: float = 0.1
    """lambda_con."""
    weight_sparse: float = 0.5
    """lambda_reg."""
    beta: float = 1.0
    """Of the commitment, for both codebooks."""
    beta_on: BetaOn = "commitment"
    """The term that beta multiplies; released: that of the codes."""
    contrast_of: ContrastOf = "continuous"
    """Latents before their codebook; released: after, on both sides, straight through."""
    space: Space = "whitened"
    """Of the cosines. Whitened: few directions hold nearly all of the tokens' latents, and along
    these alone most windows look alike; centred: about the mean, what all share tells nothing
    apart; raw: about zero."""
    weight_distance: float = 1.0
    """Of the square distance in that space: cosines leave a latent's length free, so its codes."""
    negatives: Negatives = "distinct"
    """Not those of one episode, of equal codes, or of two arms at rest."""
    sparse_of: ContrastOf = "continuous"
    """z_i before its codebook; released: after."""
    augmentation: Augmentation = "colours"
    """Released: brightness, contrast, grey, noise; colours: these and channels that are mixed and
    half of them negative."""
    target: Target = "clean"
    """Released: the decoder reads and predicts augmented frames."""
    predicts: Predicts = "change"
    """Paper and released: the later frame itself."""
    video_positive: VideoPositive = "none"
    """What video is pulled to. The paper's teacher costs top-1 on a body without actions: table
    (b) of docs/clap.md."""
    teacher_rate: float = 0.999
    """mu (released)."""
    teacher_warmup: bool = True
    """mu grows from 0.1: thousand steps would not forget the random start."""
    restart: Restart = "encodings"
    """Of unused codes of z_i; those of the tokens never move (released: they would)."""


PAPER = AlignRecipe(
    norms="sum",
    space="raw",
    weight_distance=0.0,
    negatives="all",
    augmentation="released",
    predicts="frame",
    video_positive="teacher",
    teacher_warmup=False,
    restart="none",
)
"""As the paper, without what it does not mention; of augmentation it says only that there is."""

REFERENCE = AlignRecipe(
    beta_on="book",
    contrast_of="codes",
    space="raw",
    weight_distance=0.0,
    negatives="all",
    sparse_of="codes",
    augmentation="released",
    target="augmented",
    predicts="frame",
    video_positive="teacher",
    teacher_warmup=False,
    restart="copies",
)
"""As the released code; its sizes and steps are options of the command."""

BASES = {"ours": AlignRecipe(), "paper": PAPER, "reference": REFERENCE}
"""By `--match`."""


def align_recipe_of(config: AlignVideoConfig) -> AlignRecipe:
    """The choices of a run: those of `--match`, with what the options say instead."""
    return BASES[config.match].with_options(config)
