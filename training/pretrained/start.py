"""What a run takes over from the checkpoint that it starts from (`ate finetune --init`).

Weights fit the numbers that they learned: absolute or relative actions, normalised or in robot
units, and normalised with whose statistics. They fit what they read as well: object poses, or
which cameras in which order. A run inherits all of these, or is refused; it never trains on other
numbers or images without a word.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ate_core.errors import UsageError
from ate_core.layout import Layout
from ate_policy.checkpoint import Checkpoint, describe_checkpoint
from ate_policy.models.entry import PolicyOptions
from ate_policy.models.registry import entry_of
from ate_policy.transforms import Statistics
from training.configs.finetune import FinetuneConfig
from training.data.dataset import ActionSpace, action_space
from training.data.statistics import is_by_quantiles


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """What a checkpoint says about the numbers that its weights learned."""

    folder: Path
    """As given."""
    actions: ActionSpace | None
    """Space of its actions; None: imported weights that do not say."""
    normalised: bool | None
    """Whether it learned normalised numbers; None: imported weights that do not say."""
    statistics: Statistics | None
    """What they were normalised with; None: not known, or not normalised."""
    by_quantiles: bool | None
    """Whether that brings the 1 % and 99 % quantiles to -1 and 1, instead of mean and deviation to
    0 and 1; None: not known."""
    layout: Layout
    """Of its cell."""
    cameras: tuple[str, ...]
    """Keys of the images that it reads, in their order."""
    objects: int
    """Object poses that it reads."""
    language: bool
    """Whether it reads an instruction."""
    trunk_only: bool = False
    """Whether it is a network of another kind, of which the trunk alone is taken over: what its
    actions were is no matter."""


def read_start(folder: Path, policy: PolicyOptions) -> Start:
    """Read what a checkpoint says, without its weights.

    Args:
        folder: Checkpoint or run folder.
        policy: Options of the network that starts from it; other kinds than it can start from are
            refused.
    """
    name, entry = entry_of(policy)
    stored = describe_checkpoint(folder, entry.kinds_of_start(name))
    actions, normalised, known = learned_of(stored)
    statistics = stored.statistics if known and normalised else None
    return Start(
        folder=folder,
        actions=actions,
        normalised=normalised,
        statistics=statistics,
        by_quantiles=_scale(stored, statistics),
        layout=stored.cell.layout,
        cameras=tuple(stored.model.get("cameras", ())),
        objects=int(stored.model.get("objects", 0)),
        language=bool(stored.model.get("language", False)),
        trunk_only=stored.kind != name,
    )


def learned_of(stored: Checkpoint) -> tuple[ActionSpace | None, bool | None, bool]:
    """Space, whether normalised, and whether the statistics are those of training."""
    if "imported_from" not in stored.training:
        return action_space(stored.statistics), stored.training.get("normalise", True), True
    says = stored.training
    return says.get("actions"), says.get("normalise"), bool(says.get("statistics_known", False))


def _scale(stored: Checkpoint, statistics: Statistics | None) -> bool | None:
    """Whether weights read quantiles at -1 and 1: as their import says, or as they are scaled."""
    told: bool | None = stored.training.get("by_quantiles")
    if told is None and statistics is not None:
        return is_by_quantiles(statistics)
    return told


def inherit(config: FinetuneConfig, tell: Callable[[str], object] = print) -> FinetuneConfig:
    """The configuration with the space of actions and the units of what it starts from.

    Args:
        config: As given.
        tell: Is given what was not asked for, and what the weights did not learn.

    Raises:
        UsageError: another space or variant was asked for than the weights learned.
    """
    if config.init is None:
        return dataclasses.replace(config, actions=config.space)
    start = read_start(config.init, config.policy)
    if not (start.trunk_only or config.resume):  # a trunk is compared in all that it reads
        _require_same_inputs(config, start, tell)
        _tell_language(config, start, tell)
    return dataclasses.replace(
        config,
        actions=_inherited_space(config, start),
        normalise=_inherited_units(config, start, tell),
    )


def _require_same_inputs(
    config: FinetuneConfig, start: Start, tell: Callable[[str], object]
) -> None:
    """Refuse to read object poses where the weights read images, and the other way round."""
    learned, given = start.cameras, config.images.cameras
    reads = ", ".join(learned) if learned else f"{start.objects} object poses"
    if config.variant == "state" and learned:
        raise UsageError(
            f"{start.folder} learned from {reads}, this run reads object poses: give "
            "--variant vision"
        )
    if config.variant == "vision" and start.objects:
        raise UsageError(
            f"{start.folder} learned from {reads}, this run reads cameras: give --variant state, "
            "or start from a policy that was trained with --variant vision"
        )
    if given and learned and given != learned:
        tell(
            f"cameras: {', '.join(given)}, where {start.folder} learned from {reads}: "
            "its weights see other images than they know; leave --images.cameras out for these"
        )


def _tell_language(config: FinetuneConfig, start: Start, tell: Callable[[str], object]) -> None:
    """Tell where an instruction is read that the weights did not read, and the other way round."""
    asked = getattr(config.policy, "language", None)
    if asked is None or asked == start.language:
        return
    reads, read = ("an instruction", "none") if asked else ("no instruction", "one")
    tell(
        f"language: this run reads {reads}, where {start.folder} read {read}: leave "
        "--policy.language out to go on as it did"
    )


def _inherited_space(config: FinetuneConfig, start: Start) -> ActionSpace:
    if start.trunk_only:
        return config.space
    if start.actions is None:
        if config.actions is None:
            raise UsageError(
                f"{start.folder} does not say whether its weights learned absolute or relative "
                "actions: give --actions relative for openpi's (differences from the present "
                "joints), --actions absolute for lerobot's default"
            )
        return config.actions
    if config.actions not in (None, start.actions):
        raise UsageError(
            f"{start.folder} learned {start.actions} actions, this run asks for {config.actions} "
            f"ones: leave --actions out, or give --actions {start.actions}"
        )
    return start.actions


def _inherited_units(config: FinetuneConfig, start: Start, tell: Callable[[str], object]) -> bool:
    if start.normalised is None:
        return config.normalise
    if start.normalised and not config.normalise:
        raise UsageError(
            f"{start.folder} learned normalised states and actions, this run asks for robot "
            "units: leave --no-normalise out"
        )
    if config.normalise and not start.normalised:
        tell(f"robot units, as {start.folder} learned (--no-normalise)")
    return start.normalised
