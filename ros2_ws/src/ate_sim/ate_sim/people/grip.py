"""Working a gripper that a press switches or a stick leads, where nothing is held meanwhile."""

from collections.abc import Callable

TAP = 0.12
"""How long a trigger is pressed that switches the gripper [s]; a report comes every 15 ms."""
PUSH = 1.1
"""How long a stick is pushed [s]; full, it leads all of the opening in 0.83 s."""
PAUSE = 0.12
"""Time between two presses or pushes [s]."""
LOOK = 1.5
"""Time after which people look whether the fingers did it [s]; they need 0.7 s for all of it."""
TRIES = 3
"""How often people try: after a stop a first press always closes."""


class SwitchedGrip:
    """Closes and opens a gripper by one act each, again where the fingers did not do it."""

    def __init__(
        self,
        act: Callable[[float], None],
        duration: float,
        sees_closed: Callable[[], bool | None],
    ) -> None:
        """Begin with the fingers open.

        Args:
            act: begins to close (-1), begins to open (1), or lets go (0).
            duration: of the act [s].
            sees_closed: whether the fingers are closed; None: nobody sees them.
        """
        self.closed = False
        """What is wanted."""
        self._act = act
        self._duration = duration
        self._sees_closed = sees_closed
        self._acts = False
        self._tries = 0
        self._since = PAUSE

    def want(self, closed: bool) -> bool:
        """Want the fingers closed or open; returns whether that is new."""
        if closed == self.closed:
            return False
        self.closed, self._tries = closed, TRIES
        return True

    def tick(self, dt: float) -> None:
        """Go on, `dt` after the last time [s]."""
        self._since += dt
        if self._acts:
            if self._since >= self._duration:
                self._act(0.0)
                self._acts, self._since = False, 0.0
        elif self._tries and self._since >= (PAUSE if self._tries == TRIES else LOOK):
            if self._tries < TRIES and self._sees_closed() in (None, self.closed):
                self._tries = 0
                return
            self._act(-1.0 if self.closed else 1.0)
            self._acts, self._since, self._tries = True, 0.0, self._tries - 1
