"""Action tokens on disk: what their run writes, and how it went."""

import dataclasses
from pathlib import Path
from typing import Any

from ate_policy.checkpoint import Checkpoint
from ate_policy.models.action_tokens import ACTION_TOKENS, ActionTokens
from ate_policy.token_folder import StoredTokens, token_sha256
from training.clap.chunks import TokenData
from training.configs.train_tokens import TrainTokensConfig


def describe_tokens(
    model: ActionTokens,
    *,
    data: TokenData,
    training: dict[str, Any],
    card: str,
) -> Checkpoint:
    """Describe tokens as a checkpoint, ready to be saved."""
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    sizes = dataclasses.asdict(model.config)
    about = {
        "layout": list(data.layout.names),
        "sha256": token_sha256(sizes, data.statistics, weights),
    }
    return Checkpoint(
        kind=ACTION_TOKENS,
        weights=weights,
        model=sizes,
        contract=data.contract,
        statistics=data.statistics,
        training=training | {"tokens": about},
        card=card,
    )


def run_of(stored: StoredTokens) -> TrainTokensConfig:
    """Configuration of the run that made them, so that its chunks can be made again."""
    known = {field.name for field in dataclasses.fields(TrainTokensConfig)}
    values = {k: v for k, v in stored.checkpoint.training.items() if k in known}
    for name in ("episodes", "recordings"):
        values[name] = tuple(map(Path, values.get(name) or ()))
    for name in ("output", "cell"):
        values[name] = None if values.get(name) is None else Path(values[name])
    values["exclude"] = tuple(values.get("exclude") or ())
    return TrainTokensConfig(**values)
