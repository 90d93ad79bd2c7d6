"""Which stream keeps a policy waiting, told once when that changes and not at every tick."""

import logging

from ate_core.observation import Observation, Refusal

logger = logging.getLogger(__name__)


class StreamTrouble:
    """Remembers the stream at fault from the first refused observation to the next good one."""

    def __init__(self) -> None:
        self._refusal: Refusal | None = None

    @property
    def stream(self) -> str:
        """Topic that is waited for; empty while every stream is there."""
        refusal = self._refusal
        return "" if refusal is None else refusal.stream

    def forget(self) -> None:
        """Begin anew, for instance with a new start of the policy."""
        self._refusal = None

    def take(self, seen: Observation | Refusal) -> Observation | Refusal:
        """The observation, or the first refusal since this stream is at fault.

        Its text stands for all that follow, so whoever tells it on a change tells it once.
        """
        if not isinstance(seen, Refusal):
            if self._refusal is not None:
                logger.info("%s is there again", self._refusal.stream)
            self._refusal = None
            return seen
        if self._refusal is None or self._refusal.stream != seen.stream:
            self._refusal = seen
        return self._refusal
