"""Records of runs that were made when all options of `ate finetune` stood side by side.

They are brought to today's words, so that such a run can be resumed, and so that a differing
option is named as it is given today.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ate_core.errors import UsageError
from ate_policy.models.registry import policy_entry
from training.configs.record import Record
from training.objectives.guidance import PLAIN, guidance_class

POLICY = {"train": "pi0_train"}
GUIDANCE = {
    "strength": "guidance_strength",
    "cap": "guidance_cap",
    "clamp": "guidance_cap",
    "tau_floor": "guidance_tau_floor",
}
IMAGES = {
    "cameras": "cameras",
    "augmentation": "image_augmentation",
    "shift": "image_shift",
    "memory_gb": "image_memory_gb",
}
OPTIM = {
    name: name
    for name in (
        "batch",
        "accumulate",
        "learning_rate",
        "final_rate",
        "warmup",
        "weight_decay",
        "ema_decay",
    )
}
"""Option of today -> word of then."""

USUAL_CAP = 0.1
"""Cap of the shift in studies of then, where the arm gave no other."""

GONE = (
    *("preset", "vae", "pi0_train", "freeze_vision", "lora_rank", "language", "tokenizer"),
    *("text_encoder", "image_encoder", "gradient_checkpointing"),
    *("guidance_strength", "guidance_cap", "guidance_tau_floor"),
    *IMAGES.values(),
    *OPTIM,
)
"""Words that stood beside the others and belong to a group or choice today."""


def with_todays_words(record: Mapping[str, Any]) -> Record:
    """A record of `ate finetune` as it would be written today.

    Args:
        record: Of today, which stays as it is, or of then.
    """
    if isinstance(record.get("policy"), Mapping):
        return dict(record)
    kept = {key: value for key, value in record.items() if key not in GONE}
    policy, guidance = record.get("policy", "flow"), record.get("guidance", PLAIN)
    kept["policy"] = {"name": policy} | _taken(record, policy_entry(policy).options, POLICY)
    kept["guidance"] = {"name": guidance} | _taken(record, guidance_class(guidance), GUIDANCE)
    for group, words in (("images", IMAGES), ("optim", OPTIM)):
        kept[group] = {new: record[old] for new, old in words.items() if old in record}
    return kept


def study_with_todays_words(record: Mapping[str, Any]) -> Record:
    """A record of `ate study` as it would be written today.

    Raises:
        UsageError: it has a setting that is said for each arm today.
    """
    if isinstance(record.get("policy"), Mapping):
        return dict(record)
    cap = record.get("guidance_cap", USUAL_CAP)
    if cap != USUAL_CAP:
        raise UsageError(
            f"the study was started with guidance_cap {cap}, which is said for each arm today, "
            f"for instance --guidance none paper:{cap}: choose another output"
        )
    kept = {key: value for key, value in record.items() if key not in ("preset", "guidance_cap")}
    preset = record.get("preset", "small")
    return kept | {"policy": {"name": record.get("policy", "flow"), "preset": preset}}


def preset_of(training: Mapping[str, Any]) -> str | None:
    """The preset of a trained or imported network, as its checkpoint tells; None: it does not."""
    policy = training.get("policy")
    found = policy.get("preset") if isinstance(policy, Mapping) else training.get("preset")
    return None if found is None else str(found)


def _taken(record: Mapping[str, Any], kind: Any, words: Mapping[str, str]) -> Record:
    """Options of a class from a record of then; None stood for the usual value.

    An option without one is left out where the record lacks it.
    """
    taken: Record = {}
    for field in dataclasses.fields(kind):
        value = record.get(words.get(field.name, field.name))
        value = field.default if value is None else value
        if value is not dataclasses.MISSING:
            taken[field.name] = value
    return taken
