"""The choices in which CLAP, its released code and this stack differ, by name.

`--match reference` trains as the released code does, so that both can be compared. Every run
stores its choices and those that are not the paper's in its checkpoint and model card.
"""

from dataclasses import dataclass
from typing import ClassVar

from training.configs.paper_choices import PaperChoices
from training.configs.train_tokens import (
    BetaOn,
    BookGroup,
    BookStart,
    Norms,
    Restart,
    Still,
    TrainTokensConfig,
)

PAPER_SAYS: dict[str, object] = {
    "norms": "sum",
    "beta": 1.0,
    "beta_on": "commitment",
    "book_group": "codebook",
    "book_rate": 50.0,
    "rotation": "Euler",
}
"""Choices that the paper (arXiv 2601.04061) fixes; no word on others."""

SIZES_SAID: dict[str, object] = {
    "horizon": "32 at 30 Hz",
    "codes": "8 per arm (Table IX); 16 for seven numbers (Table V)",
    "codebook": "256 (released: 512)",
    "code_width": 128,
    "encoder_layers": 15,
    "decoder_layers": 15,
    "steps": "100 k (released: 50 k)",
    "batch": "4096 (released: 256 per device)",
}
"""Sizes of the paper, for the card."""


@dataclass(frozen=True, kw_only=True)
class TokenRecipe(PaperChoices):
    """How action tokens are trained; the defaults are ours."""

    paper_says: ClassVar = PAPER_SAYS
    sizes_said: ClassVar = SIZES_SAID

    norms: Norms = "sum"
    """Norms of Eq. 2 summed over a chunk, or means over their elements (released): with these the
    two terms of the codes weigh N_q W / (H D) times less beside the reconstruction."""
    beta: float = 1.0
    """beta of Eq. 2."""
    beta_on: BetaOn = "commitment"
    """The term that beta multiplies; released: that of the codes."""
    book_group: BookGroup = "codebook"
    """What has the codes' learning rate and no weight decay; released, where names decide: the
    maps to and from the codes as well."""
    book_rate: float = 1.0
    """The codes' learning rate over the network's."""
    book_start: BookStart = "kmeans"
    """Codes begin as centres of what the untrained encoder gives, or uniform in +-1/K."""
    restart: Restart = "encodings"
    """Codes that were not used move to encodings of the last batch, to copies of other codes
    (released), or stay (the paper says nothing)."""
    still: Still = "keep"
    """Chunks that stand still are learnt as they come, or drawn anew up to 32 times (released)."""
    rotation: str = "rotation vector"
    """Of R_a R_s^T: without the wrap of Euler angles."""


PAPER = TokenRecipe(book_rate=50.0, book_start="uniform", restart="none")
"""As the paper, without what it does not mention."""

REFERENCE = TokenRecipe(
    norms="mean",
    beta_on="book",
    book_group="codebook and maps",
    book_rate=50.0,
    book_start="uniform",
    restart="copies",
    still="redraw",
)
"""As the released code; its sizes and steps are options of the command."""

BASES = {"ours": TokenRecipe(), "paper": PAPER, "reference": REFERENCE}
"""By `--match`."""


def recipe_of(config: TrainTokensConfig) -> TokenRecipe:
    """The choices of a run: those of `--match`, with what the options say instead."""
    return BASES[config.match].with_options(config)
