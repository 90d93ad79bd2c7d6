"""Options that would have no effect are refused: whoever gives one expects it to act."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ate_core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Use:
    """Options and the only runs that use them."""

    options: tuple[str, ...]
    """Fields of the configuration."""
    where: Callable[[Any], bool]
    """Whether a configuration uses them."""
    words: str
    """What to give for them to act."""


SHIFTING = ("paper", "anneal", "toward", "random")
"""Modes of guidance that move the target by a bounded push."""

FINETUNE = (
    Use(
        options=("pi0_train", "freeze_vision", "tokenizer"),
        where=lambda run: run.policy == "pi0",
        words="--policy pi0",
    ),
    Use(
        options=("lora_rank",),
        where=lambda run: run.policy == "pi0" and run.pi0_train == "lora",
        words="--policy pi0 --pi0-train lora",
    ),
    Use(
        options=("text_encoder", "image_encoder"),
        where=lambda run: run.policy == "rdt" and run.preset == "full",
        words="--policy rdt --preset full",
    ),
    Use(
        options=("gradient_checkpointing", "language"),
        where=lambda run: run.policy in ("pi0", "rdt"),
        words="--policy pi0 or rdt",
    ),
    Use(
        options=("vae", "guidance_strength"),
        where=lambda run: run.guidance != "none",
        words="--guidance paper (or another mode)",
    ),
    Use(
        options=("guidance_cap",),
        where=lambda run: run.guidance in (*SHIFTING, "reference"),
        words=f"--guidance {', '.join(SHIFTING)} or reference",
    ),
    Use(
        options=("guidance_tau_floor",),
        where=lambda run: run.guidance in SHIFTING,
        words=f"--guidance {', '.join(SHIFTING)}",
    ),
    Use(
        options=("cameras", "image_augmentation", "image_memory_gb"),
        where=lambda run: run.variant == "vision",
        words="--variant vision",
    ),
    Use(
        options=("image_shift",),
        where=lambda run: run.variant == "vision" and run.augmentation == "shift",
        words="--variant vision --image-augmentation shift",
    ),
)
"""Options of `ate finetune` that not every run uses."""

IMPORT_PI0 = (
    Use(
        options=(
            "cell",
            "tokenizer",
            "language",
            "statistics",
            "relative",
            "cameras",
            "horizon",
            "preset",
        ),
        where=lambda run: not run.to_lerobot,
        words="no --to-lerobot: a checkpoint already has its own",
    ),
)
"""Options of `ate import-pi0` that not every run uses."""


def refuse_without_effect(config: Any, uses: tuple[Use, ...]) -> None:
    """Refuse options that were given to a run which would ignore them.

    Args:
        config: A configuration.
        uses: Its options that not every run uses.
    """
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    for use in uses:
        for name in use.options:
            value = getattr(config, name)
            if value != usual[name] and not use.where(config):
                raise UsageError(
                    f"{name} is {value}, which this run would ignore: leave it out, or give "
                    f"{use.words}"
                )
