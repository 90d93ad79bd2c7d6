"""What a rule needs of an episode: without it the rule says nothing, not "pass"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from training.audit.findings import Rule
from training.data.bag_reader import BagEpisode

Need = Literal["receive times", "texts", "images", "commands"]

_NEEDS: dict[str, tuple[Need, ...]] = {}


def needs(*wanted: Need) -> Callable[[Rule], Rule]:
    """Mark a rule with what it needs."""

    def mark(rule: Rule) -> Rule:
        _NEEDS[f"{rule.__module__}:{rule.__name__}"] = wanted
        return rule

    return mark


def lacks(rule: Rule, episode: BagEpisode) -> tuple[Need, ...]:
    """Return what an episode does not have of what a rule needs."""
    wanted = _NEEDS.get(f"{rule.__module__}:{rule.__name__}", ())
    return tuple(need for need in wanted if not _has(episode, need))


def _has(episode: BagEpisode, need: Need) -> bool:
    if need == "receive times":
        return bool(episode.received_ns)
    if need == "texts":
        return bool(episode.texts)
    if need == "images":
        return any(len(images) for images in episode.images.values())
    return any(len(episode.series.get(f"{side}_arm_command", ())) for side in episode.cell.arms)
