"""What two people ask for at the same moment, and mean once.

Both look at the episode that is there; done twice, the second judgement takes the next one, which
nobody has seen. So what ended an episode is remembered for a moment, whoever ended it. What is not
carried out then is refused in words, or is done already: nothing is swallowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ate_core.episode_outcome import SETTLING

ONCE = ("keep", "fail", "discard", "redo")
"""What is not done again before the episode has settled, unless another thing was."""
JUDGEMENTS = ("keep", "fail", "discard", "label")
"""What ends the wait of an episode; what is asked for at once with it was meant for the same."""
_ENDED = "ended"


class AtOnce:
    """Remembers what was done just before.

    Args:
        clock: Monotonic time [s].
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done, self._done_at = "", float("-inf")
        self._present = ""

    def done(self, wish: str, present: str) -> None:
        """Note what was carried out.

        Args:
            wish: Name of the request.
            present: Name of the episode that is open or waits now; empty: none.
        """
        self._done, self._done_at, self._present = wish, self._clock(), present

    def see(self, present: str) -> None:
        """Look which episode is open or waits; an end that nobody asked for is remembered."""
        if self._present and present != self._present:
            self.done(_ENDED, present)
        self._present = present

    def answer(self, wish: str, *, names_its_episode: bool = False) -> tuple[bool, str] | None:
        """Whether a request was carried out just before, and in words; None: do it.

        Args:
            wish: Name of the request.
            names_its_episode: Whether it can be of no other episode.
        """
        if names_its_episode or wish not in (*ONCE, "label"):
            return None
        if self._clock() - self._done_at >= SETTLING:
            return None
        if wish == self._done and wish in ONCE:
            return True, f"{wish} was asked for just before"
        if self._done not in (*JUDGEMENTS, _ENDED):
            return None
        told = "the episode ended" if self._done == _ENDED else f"{self._done} was asked for"
        return False, f"{told} just before: look what waits now, then ask for {wish} again"
