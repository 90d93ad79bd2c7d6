"""Aligned video on disk: a checkpoint folder that labels clips without the tokens' folder."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ate_core.errors import CheckpointError
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.token_folder import StoredTokens, TokenIdentity
from training.clap.features import FeatureConfig, FrameEncoder, stored_features
from training.clap.vd_config import VdVaeConfig
from training.clap.vd_vae import VdVae

ALIGNED_VIDEO = "aligned_video"
"""Kind of a checkpoint that holds aligned video."""
FEATURES = "features."
"""Prefix of the features' tensors among the weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredAlignment:
    """Frozen aligned video with what is known about it."""

    model: VdVae
    """In eval mode, without gradients."""
    features: FrameEncoder
    """That it reads."""
    tokens: TokenIdentity
    """Whose codes it gives."""
    checkpoint: Checkpoint
    """Folder content."""

    @property
    def camera(self) -> str:
        """Key of the camera it was trained on."""
        return str(self.checkpoint.training["camera"])


def describe_alignment(
    model: VdVae,
    *,
    features: FrameEncoder,
    tokens: StoredTokens,
    training: Mapping[str, Any],
    card: str,
) -> Checkpoint:
    """Describe aligned video as a checkpoint, ready to be saved."""
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    weights |= {f"{FEATURES}{name}": value for name, value in features.tensors().items()}
    sizes = dataclasses.asdict(model.config)
    return Checkpoint(
        kind=ALIGNED_VIDEO,
        weights=weights,
        model=sizes | {"features": dataclasses.asdict(features.config)},
        contract=tokens.checkpoint.contract,
        statistics=tokens.checkpoint.statistics,
        training=dict(training) | {"tokens_identity": tokens.identity.as_dict()},
        card=card,
    )


def load_alignment(folder: Path) -> StoredAlignment:
    """Load frozen aligned video from its checkpoint or run folder.

    Raises:
        CheckpointError: it holds none.
    """
    checkpoint = load_checkpoint(folder, kind=ALIGNED_VIDEO)
    sizes = dict(checkpoint.model)
    try:
        config = FeatureConfig(**sizes.pop("features"))
        model = VdVae(VdVaeConfig(**sizes))
        own, made = split_weights(checkpoint.weights)
        model.load_state_dict(own)
        features = stored_features(config, made)
        tokens = TokenIdentity.from_dict(checkpoint.training["tokens_identity"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: weights do not fit config.json ({reason})") from None
    return StoredAlignment(
        model=model.eval().requires_grad_(False),
        features=features,
        tokens=tokens,
        checkpoint=checkpoint,
    )


def split_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of the network, and tensors of the features."""
    made = {k.removeprefix(FEATURES): v for k, v in weights.items() if k.startswith(FEATURES)}
    return {k: v for k, v in weights.items() if not k.startswith(FEATURES)}, made
