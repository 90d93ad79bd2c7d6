"""A policy that has learned nothing: both arms tremble around home for as long as it is asked."""

from pathlib import Path

import torch

from ate_core.contract import Cell
from ate_policy.checkpoint import save_checkpoint
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import checkpoint_of
from ate_policy.transforms import Statistics, VectorStatistics

SPREAD = 0.04
"""Standard deviation of its actions around home [rad]."""
STATE_SPREAD = 0.04
"""Standard deviation of the states it is said to have seen [rad]: within the cell's bounds."""


def save_restless_policy(folder: Path, cell: Cell, cameras: tuple[str, ...] = ()) -> None:
    """Save it as a checkpoint for a cell, looking through cameras whose keys are given."""
    mean: list[float] = []
    for side in cell.arms:
        mean += [*cell.arms[side].home, 1.0]
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(objects=0, width=64, blocks=1, cameras=cameras))
    checkpoint = checkpoint_of(
        "flow",
        model.config,
        weights=model.state_dict(),
        statistics=Statistics(state=around(mean, STATE_SPREAD), action=around(mean, SPREAD)),
        contract=cell.canonical_text(),
        training={},
    )
    save_checkpoint(folder, checkpoint)


def around(mean: list[float], spread: float) -> VectorStatistics:
    """Statistics of numbers that lie around means, all as far."""
    return VectorStatistics(
        mean=tuple(mean),
        std=(spread,) * len(mean),
        q01=tuple(value - 2.0 * spread for value in mean),
        q99=tuple(value + 2.0 * spread for value in mean),
    )
