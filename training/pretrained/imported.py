"""What the commands that import published weights have in common."""

from pathlib import Path

from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import UsageError
from ate_policy.checkpoint import save_checkpoint
from ate_policy.models.interface import PolicyConfig
from ate_policy.policy import checkpoint_of
from ate_policy.transforms import Statistics, VectorStatistics

NORMAL_Q99 = 2.3263
"""99 % quantile of the standard normal, for vectors without quantiles."""


def make_parent(output: Path, *, replace: bool = True) -> None:
    """Prepare to write a folder; refuse one that exists.

    Args:
        output: The folder.
        replace: A checkpoint may be replaced.
    """
    if output.exists() and not (replace and _is_checkpoint(output)):
        raise UsageError(f"{output} exists: name a folder that does not")
    output.parent.mkdir(parents=True, exist_ok=True)


def identity_statistics(cell: Cell) -> Statistics:
    """Statistics that change nothing."""

    def unit(size: int) -> VectorStatistics:
        return VectorStatistics(
            mean=(0.0,) * size,
            std=(1.0,) * size,
            q01=(-NORMAL_Q99,) * size,
            q99=(NORMAL_Q99,) * size,
        )

    return Statistics(state=unit(cell.layout.state.size), action=unit(cell.layout.action.size))


def save_imported(
    output: Path,
    kind: str,
    config: PolicyConfig,
    weights: dict[str, Tensor],
    *,
    source: Path,
    statistics: Statistics,
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
        statistics: Normalisation.
        cell: That the policy is for.
        preset: That sets how it is usually fine-tuned.
        card: Model card; that command is added.
        options: Of `ate finetune` that these weights want, besides the usual ones.
    """
    command = (
        f"ate finetune policy:{kind} --policy.preset {preset} --init {{}} --variant vision "
        f"--horizon {config.horizon} {options}..."
    )
    checkpoint = checkpoint_of(
        kind,
        config,
        weights=weights,
        statistics=statistics,
        contract=cell.canonical_text(),
        training={"imported_from": str(source), "policy": {"name": kind, "preset": preset}},
        card=f"{card}\nFine-tune with `{command.format('<this folder>')}`.\n",
    )
    save_checkpoint(output, checkpoint)
    print(f"{output}: {len(weights)} tensors; fine-tune it with")
    print(f"  {command.format(output)}")


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "contract.yaml").is_file()
