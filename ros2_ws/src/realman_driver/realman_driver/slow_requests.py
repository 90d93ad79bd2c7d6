"""Requests of the node that wait for the controller, each in a thread of its own."""

import threading
from collections.abc import Callable
from typing import Any

from realman_driver.asked_joints import LARGEST_DOUBT, contradiction
from realman_driver.records import Clear, Settle
from realman_driver.states import Motion, States
from realman_driver.stopper import Stopper

REST_TIMEOUT = 0.5
"""Longest wait for the arm to come to rest, before a glide or the end of this process [s]."""
SETTLE_PERCENT = 10
"""Speed of the glide of a set point, per cent of the joints' largest."""
SETTLE_TIMEOUT = 4.0
"""Longest glide of a set point [s]."""
LARGEST_GLIDE = 2.0
"""Distance from its goal up to which a joint may be while it glides there [deg]."""


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
        goal: tuple[float, ...] = ()
        try:
            if self.arm is not None:
                text = "the library raised"
                code, text, goal = self._glide(order)
        finally:
            if self.settling is order:
                if code == 0:
                    self._settled(goal)
                self.settling = None
            self._answer(order.ticket, code, text)

    def _glide(self, order: Settle) -> tuple[int, str, tuple[float, ...]]:
        """Let the set point glide and wait for its end; code, why not, and its goal [deg].

        Only when the arm rests and its controller has confirmed the stops before: a move in the
        middle of a brake would end the brake, and its goal would be a place passed long ago. And
        only to where the node sees the arm, too: the move is planned by the controller, so that
        nothing else looks at its way. One that leaves its goal, or does not end, is stopped.
        """
        states = self._states
        since = states.pushes

        def rests() -> bool:
            confirmed = not any(stopper.is_open for stopper in self._stoppers)
            return (confirmed and states.at_rest(since)) or self.settling is not order

        in_time = states.wait_for(rests, REST_TIMEOUT) and self.settling is order
        motion = states.motion()
        if not in_time or motion is None or not motion.rests:
            return 1, "the arm did not come to rest", ()
        goal = motion.degrees
        if not (away := _distance(motion, order.degrees)) <= LARGEST_DOUBT:
            why = f"the controller tells joints {away:.1f} degrees from where the node sees them"
            return 1, f"{why}, bound {LARGEST_DOUBT:g}", ()
        code, answered = self.arm.rm_get_joint_degree()
        if code != 0 or (why := contradiction(goal, answered)):
            return 1, f"the controller {why if code == 0 else f'does not answer ({code})'}", ()
        if self.settling is not order:
            return 1, "a stop overtook the glide", ()
        self._begins()
        code = int(self.arm.rm_movej(list(goal), SETTLE_PERCENT, 0, 0, 0))
        if self.settling is not order:  # a stop came while the move was on its way
            self._halt()
        if code != 0:
            return code, f"movej gave {code}", ()
        since = states.pushes

        def strays(motion: Motion) -> bool:
            return not _distance(motion, goal) <= LARGEST_GLIDE

        def ended() -> bool:  # the status says move_J at once, so the second push tells
            motion = states.motion()
            if motion is None or states.pushes < since + 2:
                return self.settling is not order
            return strays(motion) or not motion.glides or self.settling is not order

        in_time, motion = states.wait_for(ended, SETTLE_TIMEOUT), states.motion()
        if self.settling is not order:
            return 1, "a stop overtook the glide", ()
        if not in_time or motion is None or strays(motion):
            self._halt()
            return 1, "the glide did not end" if not in_time else "the glide left its goal", ()
        return 0, "", goal


def _distance(motion: Motion, degrees: tuple[float, ...]) -> float:
    """Largest distance of a joint from another place of all of them [deg]."""
    return max(abs(here - there) for here, there in zip(motion.degrees, degrees, strict=False))
