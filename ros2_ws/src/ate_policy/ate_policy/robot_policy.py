"""What a robot needs of a policy, wherever its network runs."""

import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch

from ate_core.errors import UsageError
from ate_core.observation import Observation
from ate_core.trained_for import as_trained
from ate_policy.continuation import Continuation
from ate_policy.images import decode_jpeg
from ate_policy.models.interface import PolicyConfig
from ate_policy.transforms import Statistics


class RobotPolicy(ABC):
    """From an observation to a chunk of actions; `Policy` here, `RemotePolicy` elsewhere."""

    kind: str
    """Kind of the network, see `ate_policy.models.names`."""
    config: PolicyConfig
    """Of the network, with what it reads: objects, cameras and their size, language."""
    contract: str
    """Canonical text of the cell the policy was trained for."""
    training: dict[str, Any]
    """How the policy was trained, as stored in its checkpoint."""
    statistics: Statistics
    """Normalisation of states, actions and object features."""
    device: torch.device
    """Where the network runs."""
    continues: bool
    """Whether `infer` takes a continuation (real-time chunking)."""

    @abstractmethod
    def infer(
        self,
        observation: Observation,
        generator: torch.Generator | int | None = None,
        continuation: Continuation | None = None,
    ) -> np.ndarray:
        """Infer the actions of the next H ticks.

        Args:
            observation: What was measured at tick k.
            generator: Source of the sampler's noise, or a seed. None: torch's global generator.
            continuation: The chunk that is being played, with which the new one has to agree;
                only where `continues`. None: nothing is, or it does not matter.

        Returns:
            (H, D) float32 in robot units (rad, ratio); row i belongs to tick k + 1 + i.
        """

    @abstractmethod
    def try_out(
        self, observation: Observation, continuation: Continuation | None = None
    ) -> np.ndarray:
        """The same for a chunk that nobody waits for: the first ones take longer."""

    @property
    def horizon(self) -> int:
        """Actions per chunk H [ticks]."""
        return self.config.horizon

    @property
    def only_instruction(self) -> str | None:
        """The text of all demonstrations; None if they had several, or it was not recorded."""
        known = self.training.get("instructions", ())
        return str(known[0]) if len(known) == 1 else None

    def instruction_for(self, given: str) -> str:
        """What to tell the policy: the given text, or else the only one it was trained with.

        A text that differs from a trained one in case and spaces alone is that one.

        Raises:
            UsageError: if it reads language, nothing is given and it knows several texts.
        """
        if given or not self.config.language:
            return as_trained(given, list(map(str, self.training.get("instructions", ()))))
        if self.only_instruction is None:
            known = list(self.training.get("instructions", ()))
            raise UsageError(
                f"the policy reads an instruction and knows {len(known)}: give one of {known[:5]}"
            )
        return self.only_instruction

    def require_instruction(self, text: str) -> str:
        """Refuse an instruction given while the policy runs that it cannot follow.

        Returns:
            The trained one that it is but for case and spaces.

        Raises:
            UsageError: it reads none, or never heard this one.
        """
        known = [str(one) for one in self.training.get("instructions", ())]
        if not self.config.language:
            raise UsageError("the policy reads no instruction: run another checkpoint")
        meant = as_trained(text, known)
        if not text.strip() or (known and meant not in known):
            raise UsageError(f"instruction {text!r} was never trained: give one of {known[:5]}")
        return meant

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a camera's JPEG as in training, no larger than the policy needs.

        Returns:
            (h, w, 3) uint8 RGB, to be passed in `Observation.images`.
        """
        return decode_jpeg(data, self.config.image_height, self.config.image_width)

    def warm_up(self, instruction: str = "", repeats: int = 3, continuing: bool = False) -> float:
        """Infer from a made-up observation, so that the first real chunk is not late.

        Args:
            instruction: The one that will be given.
            repeats: Inferences; the first ones take longer.
            continuing: Whether chunks will have to go on with others.

        Returns:
            Duration of the last inference [s], on a server with the way there and back.
        """
        seen = self.blank_observation(instruction)
        duration, old = 0.0, None
        for _ in range(repeats):
            begin = time.perf_counter()
            chunk = self.try_out(seen, old)
            duration = time.perf_counter() - begin
            old = Continuation(actions=chunk, delay=1) if continuing else None
        return duration

    def blank_observation(self, instruction: str = "") -> Observation:
        """A made-up observation: the mean state, black pictures, objects at the origin."""
        poses = np.zeros((self.config.objects, 7), np.float32)
        poses[:, 6] = 1.0
        size = (self.config.image_height, self.config.image_width, 3)
        return Observation(
            state=np.asarray(self.statistics.state.mean, dtype=np.float32),
            images={key: np.zeros(size, np.uint8) for key in self.config.cameras},
            environment=poses if self.config.objects else None,
            instruction=instruction,
            stamp_ns=0,
        )
