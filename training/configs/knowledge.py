"""What a flow head's trunk is held to while it learns (`ate finetune --knowledge`)."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from ate_core.errors import UsageError, require_not_negative
from ate_policy.models.interface import PolicyConfig

KnowledgeDirection = Literal["paper", "reference"]
"""paper: KL(policy || reference), summed over a chunk's codes; reference: as the released code
computes it, KL(reference || policy), their mean."""

KnowledgeContexts = Literal["target", "old"]
"""target: the run's own observations with their true codes, as published; old: observations of
other episodes with the codes that the reference writes there."""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """A reference and how it holds; checked together with the network that it holds."""

    reference: Path | None = None
    """Checkpoint or run folder of a token policy; None: nothing is held."""
    weight: float = 0.05
    """Of the divergence in the loss, alpha; 0: plain training to the bit."""
    direction: KnowledgeDirection = "paper"
    """Of the divergence."""
    contexts: KnowledgeContexts = "target"
    """Where policy and reference are compared."""
    episodes: Path | None = None
    """Episodes whose observations are the old contexts."""

    def __post_init__(self) -> None:
        """Refuse options that do not fit together."""
        require_not_negative(knowledge_weight=self.weight)
        given = any(getattr(self, field.name) != field.default for field in fields(self))
        if self.reference is None and given:
            raise UsageError(
                "knowledge_weight, knowledge_direction, knowledge_contexts or knowledge_episodes "
                "is given, which this run would ignore: leave it out, or give --knowledge"
            )
        if self.contexts == "old" and self.episodes is None:
            raise UsageError(
                "knowledge_contexts is old, and no episodes are named: give --knowledge-episodes"
            )
        if self.contexts == "target" and self.episodes is not None:
            raise UsageError(
                f"knowledge_episodes is {self.episodes}, which this run would ignore: leave it "
                "out, or give --knowledge-contexts old"
            )

    @property
    def holds(self) -> bool:
        """Whether a reference is asked at all."""
        return self.reference is not None and self.weight > 0.0

    def __str__(self) -> str:
        """For the model card."""
        where = "its own episodes" if self.episodes is None else str(self.episodes)
        return f"{self.reference}, weight {self.weight:g}, direction {self.direction}, at {where}"

    def check(self, name: str, kind: type[PolicyConfig], init: Path | None) -> None:
        """Refuse a network that has nothing to hold.

        Args:
            name: Of the network.
            kind: Its configuration.
            init: What it starts from.
        """
        if self.reference is None:
            return
        if not kind.writes_codes:
            raise UsageError(
                f"policy:{name} writes no codes, which --knowledge compares: give "
                "guidance:anchor, which compares the chunks of any policy, or policy:clap_rf"
            )
        if init is None:
            raise UsageError(
                "knowledge holds what the trunk knows at the start, and this run starts from "
                f"random weights: give --init {self.reference}"
            )
