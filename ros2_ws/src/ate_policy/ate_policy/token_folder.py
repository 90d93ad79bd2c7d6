"""A folder of action tokens: loaded frozen, with what tells one space of codes from another."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ate_core.errors import CheckpointError, TrainingError
from ate_policy.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from ate_policy.models.action_tokens import ACTION_TOKENS, ActionTokens, ActionTokensConfig
from ate_policy.transforms import Statistics

COUNTERS = ("codebook.usage",)
"""Parts of the weights that do not change what a code means."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenIdentity:
    """Which space of codes: what is built on tokens keeps it and refuses another one."""

    space: str
    """tool, relative or absolute."""
    horizon: int
    """Actions per chunk [ticks]."""
    tick_rate: float
    """Ticks per second [Hz]."""
    layout: tuple[str, ...]
    """Names of the numbers of a tick, all arms."""
    sha256: str
    """Of sizes, statistics and weights: equal codes then mean equal motion."""

    def as_dict(self) -> dict[str, Any]:
        """JSON values, for the record of what is built on the tokens."""
        return dataclasses.asdict(self) | {"layout": list(self.layout)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TokenIdentity":
        """Read the JSON values."""
        try:
            return cls(**{**values, "layout": tuple(values["layout"])})
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"the record of the tokens is incomplete ({error}): train again"
            ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredTokens:
    """Frozen tokens with what is known about them."""

    model: ActionTokens
    """In eval mode, without gradients and restarts."""
    folder: Path
    """Its checkpoint folder."""
    checkpoint: Checkpoint
    """Folder content."""
    identity: TokenIdentity
    """Which space of codes they are."""

    @property
    def arms(self) -> int:
        """Arms A whose numbers stand side by side in a tick."""
        return len(self.identity.layout) // self.model.config.action_size

    @property
    def codes(self) -> int:
        """Codes of a chunk of all arms, A N_q."""
        return self.arms * self.model.config.codes


def load_tokens(folder: Path) -> StoredTokens:
    """Load frozen tokens from their checkpoint or run folder.

    Raises:
        CheckpointError: it holds none, or they were changed after they were written.
    """
    folder = resolve_checkpoint(Path(folder))
    checkpoint = load_checkpoint(folder, kind=ACTION_TOKENS)
    try:
        model = ActionTokens(ActionTokensConfig(**checkpoint.model))
        model.load_state_dict(dict(checkpoint.weights))
    except (TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: weights do not fit config.json ({reason})") from None
    about = checkpoint.training.get("tokens", {})
    sha256 = token_sha256(checkpoint.model, checkpoint.statistics, checkpoint.weights)
    if about.get("sha256") != sha256:
        raise CheckpointError(
            f"{folder}: the tokens have sha256 {sha256[:12]}, config.json says "
            f"{str(about.get('sha256'))[:12]}: the folder was edited, copy it again"
        )
    identity = TokenIdentity(
        space=model.config.space,
        horizon=model.config.horizon,
        tick_rate=checkpoint.cell.tick_rate,
        layout=tuple(about["layout"]),
        sha256=sha256,
    )
    return StoredTokens(
        model=model.freeze(), folder=folder, checkpoint=checkpoint, identity=identity
    )


def travelling_tokens(folder: str, sha256: str) -> StoredTokens:
    """The tokens that travel with a policy.

    Args:
        folder: Where they are, of the policy's configuration.
        sha256: Of those that it was trained with.

    Raises:
        CheckpointError: there are none, or they are others.
    """
    if not folder:
        raise CheckpointError(
            "the policy holds no action tokens, which say what its codes mean: train it with "
            "--policy.tokens"
        )
    stored = load_tokens(Path(folder))
    if stored.identity.sha256 != sha256:
        raise CheckpointError(
            f"{folder}: the tokens have sha256 {stored.identity.sha256[:12]}, the policy was "
            f"trained with {sha256[:12]}: copy the checkpoint again"
        )
    return stored


def require_same_tokens(wanted: TokenIdentity, found: TokenIdentity, what: str) -> None:
    """Refuse a parent whose codes mean something else, naming in what it differs.

    Args:
        wanted: Of what builds on it.
        found: Of the parent.
        what: The parent in words, for instance its folder.

    Raises:
        TrainingError: space, horizon, rate, layout or hash differ.
    """
    for name in ("space", "horizon", "tick_rate", "layout", "sha256"):
        ours, theirs = getattr(wanted, name), getattr(found, name)
        if ours != theirs:
            remedy = (
                "these are other tokens: give the folder that this was made with, or make it again"
                if name == "sha256"
                else f"give tokens of the same {name}, or train them with it"
            )
            raise TrainingError(
                f"{what} has {name} {_short(theirs)}, needed is {_short(ours)}: {remedy}"
            )


def token_sha256(
    sizes: Mapping[str, Any], statistics: Statistics, weights: Mapping[str, Tensor]
) -> str:
    """Digest of all that decides what a code means."""
    action = statistics.action
    about = {"sizes": dict(sizes), "mean": list(action.mean), "std": list(action.std)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(set(weights) - set(COUNTERS)):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _short(value: object) -> str:
    if isinstance(value, tuple):
        text = ", ".join(map(str, value))
        return f"{len(value)} numbers ({text if len(text) < 200 else text[:200] + ' ...'})"
    return value[:12] if isinstance(value, str) else f"{value:g}"
