"""A stopping rule for two policies: look after every pair of rollouts, stop when one is better.

If both succeed equally often, each pair in which they differ is a fair coin, whether or not the
pairs share starts. The evidence is the likelihood of the counts under unfair coins, drawn from a
Beta(2, 2), over that under the fair one. Under the fair coin it is a martingale that begins at 1,
so that it ever passes 1 / alpha with a probability of at most alpha (Ville, 1939): however often
one looks and whenever one stops (Robbins, 1970; test by betting, Shafer, 2021).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

from ate_core.errors import UsageError

PRIOR = 2.0
"""Both parameters of the Beta: most weight on coins that are unfair by 0.1 to 0.4."""

Better = Literal["", "first", "second"]
"""Which one is better; empty: not known."""


def log_evidence(only_first: ArrayLike, only_second: ArrayLike) -> NDArray[np.float64]:
    """Natural logarithm of the evidence against equal rates, for counts of differing pairs."""
    first, second = np.asarray(only_first, np.float64), np.asarray(only_second, np.float64)
    unfair = betaln(PRIOR + first, PRIOR + second) - betaln(PRIOR, PRIOR)
    return np.asarray(unfair + (first + second) * math.log(2.0), np.float64)


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """Ends a comparison as soon as its outcome is known."""

    alpha: float = 0.05
    """Probability, at most, that it calls one of two equal policies better."""

    def __post_init__(self) -> None:
        """Refuse an error rate that is none."""
        if not 0.0 < self.alpha < 1.0:
            raise UsageError(f"alpha is {self.alpha}, must lie between 0 and 1, for instance 0.05")

    def better(self, only_first: int, only_second: int) -> Better:
        """Which one is better, as the differing pairs so far tell."""
        if float(log_evidence(only_first, only_second)) < -math.log(self.alpha):
            return ""
        return "first" if only_first > only_second else "second"

    def is_open(self, only_first: int, only_second: int, left: int) -> bool:
        """Whether the pairs that are left could still decide; else going on is in vain."""
        most, least = max(only_first, only_second), min(only_first, only_second)
        return bool(self.better(most + left, least))


def anytime_p_value(only_first: int, only_second: int) -> float:
    """A p value that holds at any time of looking [0..1]."""
    return min(1.0, math.exp(-float(log_evidence(only_first, only_second))))
