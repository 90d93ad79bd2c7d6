"""Where codes go that were not used since the last time."""

import torch
from torch import Tensor

from ate_policy.models.action_tokens import Codebook
from training.configs.train_tokens import Restart


def restart_codes(book: Codebook, kind: Restart, pool: Tensor, generator: torch.Generator) -> None:
    """Move unused codes and count anew; a frozen book stays as it is.

    Args:
        book: Whose codes.
        kind: Where they go.
        pool: (P, W) encodings of the last batch.
        generator: Of the draws.
    """
    if kind == "copies":
        pool = book.codes.detach().clone()
    if kind == "none":
        book.usage.zero_()
    else:
        book.restart(pool, generator)
