"""A control that moves: a trained policy before whose eyes stands the scene of another start."""

from dataclasses import replace

import numpy as np
import torch

from ate_core.observation import Observation
from ate_policy.continuation import Continuation
from ate_policy.policy import Policy


class BlindPolicy(Policy):
    """Infers as another policy does, from the measured state and a scene that never changes.

    What it achieves is what the motion of the demonstrations achieves without looking.
    """

    def __init__(self, policy: Policy, scene: Observation) -> None:
        """Share the network.

        Args:
            policy: that is made blind.
            scene: its pictures and object poses are seen for ever.
        """
        self.__dict__.update(policy.__dict__)
        self._scene = scene

    def infer(
        self,
        observation: Observation,
        generator: torch.Generator | int | None = None,
        continuation: Continuation | None = None,
    ) -> np.ndarray:
        """Infer from the measured state alone, see `Policy.infer`."""
        seen = replace(observation, images=self._scene.images, environment=self._scene.environment)
        return super().infer(seen, generator, continuation)
