"""Requests of the node that wait for the controller, each in a thread of its own."""

import threading
from collections.abc import Callable
from typing import Any

from realman_driver.records import Clear, Settle
from realman_driver.states import States
from realman_driver.stopper import Stopper

REST_TIMEOUT = 0.5
"""Longest wait for the arm to come to rest, before a glide or the end of this process [s]."""
SETTLE_PERCENT = 10
"""Speed of the glide of a set point, per cent of the joints' largest."""
SETTLE_TIMEOUT = 4.0
"""Longest glide of a set point [s]."""
MOVE_STATUS = b'"move_J"'
"""Found in a state packet while the arm glides."""


class SlowRequests:
    """Clears errors, and lets the set point glide to where the arm rests."""

    def __init__(
        self,
        states: States,
        stoppers: tuple[Stopper, ...],
        answer: Callable[[int, int, str], None],
        halt: Callable[[], None],
        begins: Callable[[], None],
        settled: Callable[[tuple[float, ...]], None],
    ) -> None:
        """Without an arm every request fails.

        Args:
            states: of the arm.
            stoppers: tell whether a stop is still to be confirmed.
            answer: told ticket, code and why not.
            halt: stops the arm, as a glide was overtaken by a stop.
            begins: told that a glide leaves now.
            settled: told where the set point is after a glide [deg].
        """
        self._states = states
        self._stoppers = stoppers
        self._answer, self._halt = answer, halt
        self._begins, self._settled = begins, settled
        self.arm: Any = None
        """The library's arm; None while there is no link."""
        self.settling: Settle | None = None
        """The glide under way, after which no older target counts."""

    def clear(self, order: Clear) -> None:
        """Clear the errors and enable the joints."""
        threading.Thread(target=self._clear, args=(order,), name="clear", daemon=True).start()

    def settle(self, order: Settle) -> None:
        """Let the set point glide; a later one, or `cancel`, ends it."""
        self.settling = order
        threading.Thread(target=self._settle, args=(order,), name="settle", daemon=True).start()

    def cancel(self) -> None:
        """A stop came: no glide begins, and one under way has failed."""
        self.settling = None

    def _clear(self, order: Clear) -> None:
        code, text = -1, "no link"
        try:
            if self.arm is not None:
                text = "the library raised"
                codes = [self.arm.rm_clear_system_err()]
                for number in order.joints:
                    codes.append(self.arm.rm_set_joint_clear_err(number))
                    codes.append(self.arm.rm_set_joint_en_state(number, 1))
                code = int(any(codes))
                text = f"codes {codes}" if code else ""
        finally:
            self._answer(order.ticket, code, text)

    def _settle(self, order: Settle) -> None:
        code, text = -1, "no link"
        try:
            if self.arm is not None:
                text = "the library raised"
                code, text = self._glide(order)
        finally:
            if self.settling is order:
                if code == 0:
                    self._settled(self._states.joints())
                self.settling = None
            self._answer(order.ticket, code, text)

    def _glide(self, order: Settle) -> tuple[int, str]:
        """Let the set point glide and wait for its end; code and why not.

        Only when the arm rests and its controller has confirmed the stops before: a move in the
        middle of a brake would end the brake, and its goal would be a place passed long ago.
        """
        states = self._states
        since = states.pushes

        def rests() -> bool:
            confirmed = not any(stopper.is_open for stopper in self._stoppers)
            return (confirmed and states.at_rest(since)) or self.settling is not order

        if not (states.wait_for(rests, REST_TIMEOUT) and self.settling is order):
            return 1, "the arm did not come to rest"
        self._begins()
        code = int(self.arm.rm_movej(list(states.joints()), SETTLE_PERCENT, 0, 0, 0))
        if self.settling is not order:  # a stop came while the move was on its way
            self._halt()
        if code != 0:
            return code, f"movej gave {code}"
        since = states.pushes

        def ended() -> bool:  # the status says move_J at once, so the second push tells
            glided = MOVE_STATUS not in states.packet and states.pushes >= since + 2
            return glided or self.settling is not order

        if not (states.wait_for(ended, SETTLE_TIMEOUT) and self.settling is order):
            return 1, "the glide did not end"
        return 0, ""
