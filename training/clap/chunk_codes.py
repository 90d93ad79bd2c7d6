"""The codes of demonstrated chunks: what a token policy is to write, given what it observes."""

import torch
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_policy.token_folder import StoredTokens, TokenIdentity, require_same_tokens
from training.clap.chunks import arm_chunks, normalise_arms, token_layout
from training.data.dataset import Demonstrations

BATCH = 256
"""Chunks that are encoded at a time, always the same ones together: a resumed run gets the same
codes."""


def chunk_codes(tokens: StoredTokens, data: Demonstrations, what: str) -> Tensor:
    """The codes (N, L) int64 of every tick's chunk, arm after arm in the order of the layout.

    Neither chunks nor tokens change in a run, so that they are computed once, on the CPU.

    Args:
        tokens: Frozen.
        data: Demonstrations, without a gap and in robot units.
        what: The tokens in words, for instance their folder.

    Raises:
        TrainingError: the tokens are of another space, horizon, rate or layout than these chunks.
    """
    cell, identity, space = (
        parse_cell_text(data.contract),
        tokens.identity,
        tokens.model.config.space,
    )
    require_same_tokens(
        TokenIdentity(
            space=space,
            horizon=data.windows.shape[1],
            tick_rate=cell.tick_rate,
            layout=token_layout(cell, space).names,
            sha256=identity.sha256,
        ),
        identity,
        what,
    )
    chunks, _ = arm_chunks(
        cell, data.actions.numpy(), data.states.numpy(), data.windows.numpy(), space
    )
    arms = normalise_arms(torch.from_numpy(chunks), tokens.checkpoint.statistics)
    return encode_arms(tokens, arms).flatten(1)


@torch.no_grad()
def encode_arms(tokens: StoredTokens, arms: Tensor) -> Tensor:
    """The codes (N, A, N_q) int64 of normalised chunks of all arms (N, A, H, D)."""
    codes = [tokens.model.encode(part.flatten(0, 1))[0] for part in arms.split(BATCH)]
    found: Tensor = torch.cat(codes).unflatten(0, arms.shape[:2])
    return found
