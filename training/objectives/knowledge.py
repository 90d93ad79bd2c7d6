"""Knowledge matching: while a flow head learns, its trunk's codes stay near those of a reference.

CLAP (arXiv 2601.04061, section III-F, Eq. 7): with the codes c of the true chunks given one after
the other, p the policy's scores of the next code and q those of a frozen token policy,

    loss = L_RF + weight * sum over codes of KL(p || q)          its mean over the batch

so the gradient at the policy's logits is p (log(p / q) - KL). The released code computes
KL(q || p), whose gradient is p - q, and the mean over the codes: `direction` has both. It also
compares each code's scores at the place of the code before; here every code counts, the first too.

Where the scores are taken is the batch's business (`Spoken`): at the observations of the chunks,
their true codes given, or at others, given the codes that the reference writes there.
"""

from typing import Protocol

import torch
from torch import Tensor

from ate_core.errors import TrainingError, require_not_negative
from ate_policy.models.interface import Inputs
from ate_policy.noise import Noised, Prediction
from training.configs.knowledge import KnowledgeDirection
from training.objectives.denoising import Objective, Spoken


class Reference(Protocol):
    """A frozen policy that scores codes."""

    def __call__(self, inputs: Inputs, codes: Tensor) -> Tensor:
        """Scores (B, L, K) of each code given those before it (B, L)."""


class _Beside:
    """What a loss of codes beside another objective's has of that one."""

    def __init__(self, inner: Objective) -> None:
        self._inner, self.generator = inner, inner.generator

    def draw(self, count: int) -> Tensor:
        """Noise of the wrapped objective."""
        return self._inner.draw(count)


class KnowledgeMatching(_Beside):
    """Another objective's loss + weight * divergence from the reference's codes."""

    def __init__(
        self,
        inner: Objective,
        reference: Reference,
        weight: float,
        direction: KnowledgeDirection = "paper",
    ) -> None:
        """Wrap an objective.

        Args:
            inner: What is learned besides, guided or plain.
            reference: Never trained here, nor saved: it belongs to no module of the run.
            weight: alpha; 0 leaves the inner loss as it is, to the bit.
            direction: Of the divergence.
        """
        require_not_negative(knowledge_weight=weight)
        super().__init__(inner)
        self._reference, self._weight, self._direction = reference, weight, direction

    def loss(
        self,
        prediction: Prediction,
        output: Tensor,
        noised: Noised,
        eps: Tensor,
        step: int,
        weight: Tensor | None = None,
        spoken: Spoken | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Both losses."""
        loss, metrics = self._inner.loss(prediction, output, noised, eps, step, weight, spoken)
        if self._weight == 0.0:
            return loss, metrics
        spoken = _required(spoken)
        with torch.no_grad():
            reference = self._reference(spoken.inputs, spoken.codes)
        divergence = knowledge_divergence(spoken.logits, reference, self._direction)
        metrics = {**metrics, "knowledge": divergence.detach(), "flow_loss": loss.detach()}
        return loss + self._weight * divergence, metrics


class TokenLoss(_Beside):
    """Another objective's loss + the codes' own, for a trunk that no other gradient reaches.

    With the flow's gradient stopped at the trunk this is knowledge insulation (Driess et al.
    2025), a rival of knowledge matching.
    """

    def __init__(self, inner: Objective, weight: float = 1.0) -> None:
        require_not_negative(token_weight=weight)
        super().__init__(inner)
        self._weight = weight

    def loss(
        self,
        prediction: Prediction,
        output: Tensor,
        noised: Noised,
        eps: Tensor,
        step: int,
        weight: Tensor | None = None,
        spoken: Spoken | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Both losses."""
        loss, metrics = self._inner.loss(prediction, output, noised, eps, step, weight, spoken)
        spoken = _required(spoken)
        tokens = token_loss(spoken.logits, spoken.codes)
        metrics = {**metrics, "token_loss": tokens.detach(), "flow_loss": loss.detach()}
        return loss + self._weight * tokens, metrics


def knowledge_divergence(
    logits: Tensor, reference: Tensor, direction: KnowledgeDirection
) -> Tensor:
    """The divergence of a batch, a scalar in nat.

    Args:
        logits: Of the policy, (B, L, K).
        reference: Of the reference, (B, L, K).
        direction: See `KnowledgeDirection`.
    """
    if logits.shape != reference.shape:
        raise TrainingError(
            f"the policy scores codes as {tuple(logits.shape)}, the reference as "
            f"{tuple(reference.shape)}: give a reference with the tokens of this policy"
        )
    policy, other = logits.float().log_softmax(-1), reference.float().log_softmax(-1)
    if direction == "reference":
        return (other.exp() * (other - policy)).sum(-1).mean()
    return (policy.exp() * (policy - other)).sum((-1, -2)).mean()


def token_loss(logits: Tensor, codes: Tensor, weight: Tensor | None = None) -> Tensor:
    """Next-token loss of the codes (Eq. 5) [nat]: sum over a chunk's codes, mean over the batch.

    Args:
        logits: (B, L, K).
        codes: (B, L) int64.
        weight: (B,) of each chunk, mean 1 over the whole batch; None: all are equal.
    """
    if weight is None:
        entropy = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), codes.flatten(), reduction="sum"
        )
        return entropy / len(codes)
    by_code = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), codes, reduction="none"
    )
    return (weight * by_code.sum(1)).mean()


def _required(spoken: Spoken | None) -> Spoken:
    if spoken is None:
        raise TrainingError(
            "the network scored no codes, which this loss compares: give Inputs.codes to a "
            "network that writes codes"
        )
    return spoken
