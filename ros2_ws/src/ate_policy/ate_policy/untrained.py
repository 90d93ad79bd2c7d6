"""Policies with random weights: to try the loop untrained, and as the control that must fail."""

import numpy as np
import torch

from ate_core.contract import Cell
from ate_policy.chunking import usual_horizon
from ate_policy.models.flow_policy import FlowPolicyConfig
from ate_policy.models.interface import PolicyConfig
from ate_policy.models.registry import build_model
from ate_policy.policy import Policy
from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics


def untrained_policy(
    cell: Cell,
    *,
    objects: int = 0,
    cameras: tuple[str, ...] = (),
    seed: int = 0,
    statistics: Statistics | None = None,
) -> Policy:
    """A flow policy with random weights, to try the loop without training.

    Args:
        cell: The cell it shall run on.
        objects: Object poses it reads; 0: none.
        cameras: Image keys it reads.
        seed: Decides the weights; torch's global random stream is left alone.
        statistics: Normalisation of a trained policy; None: joints around the home posture with
            a spread of 0.3.
    """
    config = FlowPolicyConfig(
        horizon=usual_horizon(cell.tick_rate),
        action_size=cell.layout.action.size,
        state_size=cell.layout.state.size,
        objects=objects,
        cameras=cameras,
    )
    statistics = statistics or _home_statistics(cell, objects)
    return _random_policy("flow", config, statistics, cell.canonical_text(), seed)


def untrained_copy(policy: Policy, seed: int = 0) -> Policy:
    """The same network with random weights, as the control that must fail."""
    return _random_policy(policy.kind, policy.config, policy.statistics, policy.contract, seed)


def _random_policy(
    kind: str, config: PolicyConfig, statistics: Statistics, contract: str, seed: int
) -> Policy:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(kind, config)
    return Policy(kind, model, ChunkTransform(statistics), contract, {"steps": 0})


def _home_statistics(cell: Cell, objects: int) -> Statistics:
    values = {
        **{f"{side}_arm": arm.home for side, arm in cell.arms.items()},
        **{f"{side}_gripper": 0.5 for side in cell.grippers},
    }

    def around(mean: np.ndarray, spread: float) -> VectorStatistics:
        return VectorStatistics(
            mean=tuple(mean.tolist()),
            std=(spread,) * len(mean),
            q01=tuple((mean - 2.3 * spread).tolist()),
            q99=tuple((mean + 2.3 * spread).tolist()),
        )

    return Statistics(
        state=around(cell.layout.state.pack(values), 0.3),
        action=around(cell.layout.action.pack(values), 0.3),
        environment=around(np.zeros(6 * objects), 0.5) if objects else None,
    )
