"""Our own stops of the controller, sent and confirmed, and those that others asked for."""

import math
import threading
import time
from collections.abc import Callable

from realman_driver.connection import Connection

CONFIRM_TIMEOUT = 0.04
"""How long a state that confirms a stop is awaited before the library is asked to stop [s]."""
EXPECTED = 1.0
"""For this long after a stop was sent, a state that says so may be its effect [s]; the time in
which a controller stands still and says nothing does not count."""
PUSH_GAP = 0.05
"""States that lie further apart are a silence [s]."""


class Stopper:
    """One way to stop: a line of our own on the wire at once, the library as the second way.

    The library's stop waits for the reply, and keeps its own state thread waiting meanwhile. Our
    line leaves whatever the library does, and the state that comes back confirms it.
    """

    def __init__(
        self,
        line: bytes,
        status: bytes,
        call: Callable[[], int],
        answer: Callable[[int, int], None],
    ) -> None:
        """Start the thread of the second way.

        Args:
            line: the stop as the controller reads it.
            status: found in the states while the arm is stopped in this way.
            call: the library's stop; returns its code.
            answer: told ticket and code.
        """
        self._line, self._call, self._answer = line, call, answer
        self.status = status
        """Found in the states while the arm is stopped in this way."""
        self._wanted = threading.Condition()
        self._tickets: list[int] = []
        self._sent_at: float | None = None
        self._expected_since: float | None = None
        threading.Thread(target=self._run, name="stop", daemon=True).start()

    def request(self, ticket: int, connection: Connection | None) -> None:
        """Stop now; ticket 0 wants no answer."""
        with self._wanted:
            self._tickets.append(ticket)
            self._sent_at = self._expected_since = time.monotonic()
            if connection is not None:
                connection.send(self._line)
            self._wanted.notify()

    def confirm(self, code: int, asked_before: float) -> None:
        """Answer all, if the last of them asked before a time [s]."""
        with self._wanted:
            if self._sent_at is None or self._sent_at >= asked_before:
                return
            tickets, self._tickets, self._sent_at = self._tickets, [], None
            self._wanted.notify()
        for ticket in filter(None, tickets):
            self._answer(ticket, code)

    @property
    def is_open(self) -> bool:
        """Whether a stop was sent that nothing has confirmed yet."""
        return self._sent_at is not None

    def explains(self, now: float) -> bool:
        """Whether a state of ``now`` [s] that tells of a stop may be the effect of this one."""
        since = self._expected_since
        return since is not None and now - since < EXPECTED

    def wait_on(self, silence: float, now: float) -> None:
        """Go on expecting the effect after a silence [s] of a controller that stood still."""
        with self._wanted:
            if self._expected_since is not None:
                self._expected_since = min(self._expected_since + silence, now - PUSH_GAP)

    def seen(self, status: bytes, now: float) -> None:
        """Note the stop that a state of ``now`` [s] tells of: its effect is seen once."""
        with self._wanted:
            since = self._expected_since
            if status == self.status and since is not None and since < now:
                self._expected_since = None

    def _run(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._sent_at is not None)
                if self._wanted.wait_for(lambda: self._sent_at is None, CONFIRM_TIMEOUT):
                    continue
                self._expected_since = time.monotonic()
            self.confirm(self._call(), time.monotonic())


class StopWatch:
    """Counts the stops that the states tell of and nobody here asked for. Time is an argument.

    The mode stays until the next motion. A controller that took a target before any state told of
    the stop, within one period of its push, would keep it from being seen.
    """

    def __init__(self, own: tuple[Stopper, ...]) -> None:
        """Begin; the first state tells where the arm is, whoever stopped it before.

        Args:
            own: our ways to stop.
        """
        self._own = own
        self._status: bytes | None = None
        self._begun = self._moved = -math.inf
        self._looked = math.inf
        self.foreign = 0
        """Stops of others so far."""

    def note_motion(self, now: float) -> None:
        """Note that a target or a move leaves at ``now`` [s]: what was told before is past."""
        self._moved = now

    def look(self, packet: bytes, now: float) -> None:
        """Look at a state packet that arrived at ``now`` [s]."""
        silence, self._looked = now - self._looked, now
        if silence > PUSH_GAP:
            for stopper in self._own:
                stopper.wait_on(silence, now)
        status = next((stopper.status for stopper in self._own if stopper.status in packet), b"")
        if not status:
            self._status = b""
            return
        if status != self._status:
            self._begun = now
        begins = self._status is not None and status != self._status
        self._status = status
        if begins and not any(stopper.explains(now) for stopper in self._own):
            self.foreign += 1
        # The stop in force confirms another only where nothing has moved the arm since it began.
        asked_before = now if self._moved < self._begun else self._begun
        for stopper in self._own:
            stopper.seen(status, now)
            if stopper.status == status:
                stopper.confirm(0, asked_before)
