"""What the commands that import published weights have in common."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import UsageError
from ate_core.layout import Layout
from ate_core.trained_for import FINE_TUNE_FIRST
from ate_policy.checkpoint import save_checkpoint
from ate_policy.models.interface import PolicyConfig
from ate_policy.policy import checkpoint_of
from ate_policy.transforms import Statistics, VectorStatistics
from training.data.dataset import ActionSpace
from training.pretrained.kept_statistics import impossible

NORMAL_Q99 = 2.3263
"""99 % quantile of the standard normal, for vectors without quantiles."""

NUDGE = 0.01
"""How far a joint at rest may lie from its mean [rad, and of a gripper's ratio]."""

BLOWN_UP = 10.0
"""Deviations as which a nudge must not enter a network."""


def make_parent(output: Path, *, replace: bool = True) -> None:
    """Prepare to write a folder; refuse one that exists.

    Args:
        output: The folder.
        replace: A checkpoint may be replaced.
    """
    if output.exists() and not (replace and _is_checkpoint(output)):
        raise UsageError(f"{output} exists: name a folder that does not")
    output.parent.mkdir(parents=True, exist_ok=True)


def identity_statistics(cell: Cell, actions: ActionSpace | None = "absolute") -> Statistics:
    """Statistics that change nothing but the space of the actions."""

    def unit(size: int) -> VectorStatistics:
        return VectorStatistics(
            mean=(0.0,) * size,
            std=(1.0,) * size,
            q01=(-NORMAL_Q99,) * size,
            q99=(NORMAL_Q99,) * size,
        )

    return Statistics(
        state=unit(cell.layout.state.size),
        action=unit(cell.layout.action.size),
        relative=cell.layout.action.columns("rad") if actions == "relative" else (),
    )


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The numbers that published weights learned, as a run that starts from them must know."""

    statistics: Statistics | None
    """What they were normalised with, in the cell's layout; None: not known, or robot units."""
    actions: ActionSpace | None = "absolute"
    """Space of the actions; None: nobody said."""
    normalised: bool = True
    """Whether they are normalised, or in robot units."""
    by_quantiles: bool | None = None
    """Whether 1 % and 99 % quantiles are brought to -1 and 1; None: as their statistics, or as is
    usual for the network."""
    differs: tuple[str, ...] = ()
    """What else they learned than the network reads or gives here."""

    def needs(self, cell: Cell) -> list[str]:
        """Why the weights must be fine-tuned before they drive; empty: they need not."""
        found = list(self.differs)
        if self.normalised and self.statistics is None:
            found.append("what its weights were normalised with is not known")
        if self.statistics is not None:
            found += [*rested(self.statistics, cell.layout), *impossible(self.statistics, cell)]
        return found


def rested(statistics: Statistics, layout: Layout) -> list[str]:
    """What hardly moved in pre-training, so that the least motion of it would be blown up.

    Args:
        statistics: That weights learned with.
        layout: Names of what they are of.
    """
    parts = (
        ("state", statistics.state, layout.state),
        ("action", statistics.action, layout.action),
    )
    return [
        f"{part} {name} rested in pre-training (deviation {std:.1g} {unit}): {NUDGE:g} {unit} "
        f"from its mean enters the network as {NUDGE / std:.0f}"
        for part, vector, own in parts
        for name, unit, std in zip(own.names, own.units, vector.std, strict=True)
        if std * BLOWN_UP < NUDGE
    ]


def save_imported(
    output: Path,
    kind: str,
    config: PolicyConfig,
    weights: dict[str, Tensor],
    *,
    source: Path,
    learned: Learned,
    cell: Cell,
    preset: str,
    card: str,
    options: str = "",
) -> None:
    """Write the checkpoint of imported weights, and say how to fine-tune it.

    Args:
        output: Its folder.
        kind: Of the network.
        config: Of the network.
        weights: By our names.
        source: Where they came from.
        learned: Which numbers they learned.
        cell: That the policy is for.
        preset: That sets how it is usually fine-tuned.
        card: Model card; that command is added.
        options: Of `ate finetune` that these weights want, besides the usual ones.
    """
    command = (
        f"ate finetune --init {{}} --variant vision {options}--episodes runs/episodes "
        f"--output runs/{kind} policy:{kind} --policy.preset {preset}"
    )
    needs = learned.needs(cell)
    checkpoint = checkpoint_of(
        kind,
        config,
        weights=weights,
        statistics=learned.statistics or identity_statistics(cell, learned.actions),
        contract=cell.canonical_text(),
        training={
            "imported_from": str(source),
            "policy": {"name": kind, "preset": preset},
            "actions": learned.actions,
            "normalise": learned.normalised,
            "statistics_known": learned.statistics is not None,
            "by_quantiles": learned.by_quantiles,
            FINE_TUNE_FIRST: needs,
        },
        card=f"{card}\nFine-tune with `{command.format('FOLDER')}`.\n",
    )
    save_checkpoint(output, checkpoint)
    for reason in needs:
        print(f"it runs only after fine-tuning: {reason}")
    print(f"{output}: {len(weights)} tensors; fine-tune it with")
    print(f"  {command.format(shlex.quote(str(output)))}")


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "contract.yaml").is_file()
