"""The orders of the node, as the link process carries them out: above all, targets.

One thread reads them and lets targets leave. It stops the arm by itself, and counts that in its
epoch, when the node falls silent after targets, and when targets come late: because the node,
this process or the controller stood still. Targets that do not know of that are void.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from ate_core.priority import set_fifo
from ate_core.stream_wall import LARGEST_STEP_DEG
from realman_driver import records, sdk
from realman_driver.asked_joints import ask_joints
from realman_driver.connection import Connection
from realman_driver.pacing import LONGEST_GAP, TargetPacer
from realman_driver.records import Clear, Settle, Stop, Stream
from realman_driver.sdk import LinkConfig
from realman_driver.slow_requests import SlowRequests
from realman_driver.states import States
from realman_driver.stopper import Stopper, StopWatch

LIFE_AGE, LIFE_CYCLES = 0.060, 3
"""A controller that neither pushed nor answered for this long [s, periods] gets no targets."""
ANSWER_AGE = 0.4
"""Nor does one that pushes, but leaves a question unanswered for this long [s]."""
NODE_SILENCE = 0.1
"""After targets, silence of the node for this long stops the arm [s]."""
MOST_UNACKNOWLEDGED = 2048
"""Bytes on their way with which no target is added [bytes]: a dozen targets. More of them wait in
this machine for a network that is gone, and would all be delivered when it comes back."""
FAST_STOP = b'{"command":"set_arm_stop"}\r\n'
SLOW_STOP = b'{"command":"set_arm_slow_stop"}\r\n'
FAST_STATUS, SLOW_STATUS = b'"stop"', b'"slow_stop"'
"""Found in a state packet while the arm is stopped."""


class NodeChannel:
    """This process's end of the socketpair; never waits for the node."""

    def __init__(self, channel: socket.socket) -> None:
        """Take the socket."""
        channel.setblocking(False)
        self.socket = channel

    def send(self, record: bytes) -> bool:
        """Send a report; what finds no room is lost, and the answer is False."""
        try:
            self.socket.send(record)
        except OSError:
            return False
        return True

    def answer(self, ticket: int, code: int, text: str = "") -> None:
        """Tell what became of a request."""
        self.send(records.pack_answer(ticket, code, text))


class Orders:
    """Carries out what the node asks, once `link` tells of the arm."""

    def __init__(
        self,
        config: LinkConfig,
        channel: NodeChannel,
        states: States,
        epoch: int,
        leave: Callable[[bool], NoReturn],
    ) -> None:
        """Prepare; without an arm targets are refused and stops go nowhere.

        Args:
            config: the arm.
            channel: to the node.
            states: of the arm.
            epoch: where the count of its own stops begins.
            leave: brings the arm to rest and ends the process; told whether the node is gone.
        """
        self._joints = config.joints
        self._life_age = max(LIFE_AGE, LIFE_CYCLES * sdk.CYCLE * config.cycle)
        self._channel, self._states = channel, states
        self._leave = leave
        self._arm: Any = None
        self._connection: Connection | None = None
        self._pacer = TargetPacer()
        self._heard = time.monotonic()
        self._heeded = 0

        def make_stopper(line: bytes, status: bytes, *, fast: bool) -> Stopper:
            return Stopper(line, status, lambda: self._stop_call(fast=fast), channel.answer)

        self._fast = make_stopper(FAST_STOP, FAST_STATUS, fast=True)
        self._slow = make_stopper(SLOW_STOP, SLOW_STATUS, fast=False)
        self._stoppers = self._fast, self._slow
        self.stops = StopWatch(self._stoppers)
        """Tells of stops that nobody here asked for."""
        self.slow_requests = SlowRequests(
            states,
            self._stoppers,
            channel.answer,
            halt=lambda: self.stop_arm(fast=False),
            begins=lambda: self.stops.note_motion(time.monotonic()),
            settled=lambda stands: self._pacer.forget(stands=stands),
        )
        """Clears errors and lets the set point glide."""
        self.epoch = epoch
        """Counts what made older targets void."""
        self.frames = self.refused = 0
        """Targets given to the SDK, and targets that were not."""
        self.streaming = False
        """Whether targets leave."""
        self.frame_at = 0.0
        """When the call into the SDK under way began [s]; 0: there is none."""
        self.answered_at = 0.0
        """When the controller answered `ask` last [s]."""
        self.asked_at: float | None = None
        """When the question under way was asked [s]; None: there is none."""
        self.report: Callable[[], None] = lambda: None
        """Tells the node of the epoch."""

    def link(self, arm: Any, connection: Connection) -> None:
        """Take the arm, from now on all orders are carried out.

        Args:
            arm: the library's.
            connection: to its controller.
        """
        self._connection = connection
        self._arm = self.slow_requests.arm = arm

    @property
    def linked(self) -> bool:
        """Whether there is an arm."""
        return self._arm is not None

    def ask(self) -> str:
        """Ask the controller where its joints are, and note when; what is wrong, or nothing."""
        self.asked_at = time.monotonic()
        try:
            is_answered, wrong = ask_joints(self._arm, self._states)
        finally:
            self.asked_at = None
        if is_answered:
            self.answered_at = time.monotonic()
        return wrong

    def read(self) -> None:
        """Carry out orders for ever, in a thread of its own."""
        set_fifo()
        while True:
            wait = self._pacer.wait(time.monotonic())
            select.select(
                [self._channel.socket], [], [], wait
            )  # keeps microseconds, poll does not
            self.turn()

    def turn(self) -> None:
        """Take what the node sent and let a target leave; at least every 10 ms."""
        now = time.monotonic()
        late = self._pacer.lateness(now)
        self._take_waiting()
        if self.streaming and late > LONGEST_GAP and not self._pacer.missed_nothing(now):
            self._stop_by_itself(f"the link stood still for {late * 1e3:.0f} ms")
        if self.stops.foreign != self._heeded:
            self._heed_stop()
        self._send_target()
        if self.streaming and time.monotonic() - self._heard > NODE_SILENCE:
            self._stop_by_itself(f"the driver was silent for {NODE_SILENCE * 1e3:.0f} ms")

    def stop_arm(self, *, fast: bool) -> None:
        """Bring the arm to rest; nobody waits for an answer."""
        (self._fast if fast else self._slow).request(0, self._connection)

    def _take_waiting(self) -> None:
        """Take the orders that wait: of targets only the newest counts."""
        while True:
            try:
                data = self._channel.socket.recv(records.LARGEST)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._leave(True)
            now = self._heard = time.monotonic()
            with contextlib.suppress(records.RecordError):
                self._take(records.unpack_order(data))
            if self._pacer.is_fresh(now):  # nothing waited before it: no need to look for more
                return

    def _take(self, order: records.Order) -> None:
        if isinstance(order, Stream):
            gliding = self.slow_requests.settling is not None
            void = self._arm is None or order.epoch != self.epoch or gliding
            self.refused += void or self._pacer.offer(order)
        elif isinstance(order, Stop):
            self._give_up_targets()
            self.slow_requests.cancel()
            (self._fast if order.fast else self._slow).request(order.ticket, self._connection)
        elif isinstance(order, Settle):
            self._give_up_targets()
            self.slow_requests.settle(order)
        elif isinstance(order, Clear):
            self.slow_requests.clear(order)
        elif order == records.END:
            self._leave(False)

    def _send_target(self) -> None:
        """Let the newest target leave when it is time, or stop the arm when it is too late."""
        now = time.monotonic()
        age, target = self._pacer.age(now), self._pacer.take(now)
        if target is None:
            return
        trouble = self._trouble(target, age, now)
        if trouble:
            self.refused += 1
            self._stop_by_itself(trouble)
            return
        self.streaming = True
        self._pacer.sent(target, now)
        self.frame_at = now
        self.stops.note_motion(now)
        # High follow, raw: the filter before this has limited speed and acceleration.
        self._arm.rm_movej_canfd(list(target[: self._joints]), True)
        self.frame_at = 0.0
        self.frames += 1

    def _trouble(self, target: tuple[float, ...], age: float, now: float) -> str:
        """Why a target must not leave although it is the newest; empty when it may.

        Args:
            target: joints [deg].
            age: how long it, or one that it replaced, has waited [s].
            now: present time [s].
        """
        assert self._connection is not None
        if age > LONGEST_GAP:
            return f"a target waited for {age * 1e3:.0f} ms, bound {LONGEST_GAP * 1e3:.0f} ms"
        silence = now - max(self._states.pushed_at, self.answered_at)
        if silence > self._life_age:
            return f"no sign of the controller for {silence * 1e3:.0f} ms"
        asked_at = self.asked_at
        if asked_at is not None and now - asked_at > ANSWER_AGE:
            return f"the controller has not answered for {ANSWER_AGE * 1e3:.0f} ms"
        waiting = self._connection.unacknowledged()
        if waiting > MOST_UNACKNOWLEDGED:
            return f"{waiting} bytes have not arrived, bound {MOST_UNACKNOWLEDGED}"
        step = self._pacer.step(target, self._states.joints)
        if not step <= LARGEST_STEP_DEG:
            return f"a target is {step:.1f} degrees from the last, bound {LARGEST_STEP_DEG:g}"
        return ""

    def _give_up_targets(self) -> None:
        self.streaming = False
        self._pacer.forget()

    def _stop_by_itself(self, reason: str) -> None:
        """Stop the arm, void all targets that do not know of it, and tell the node."""
        self._give_up_targets()
        self.epoch += 1
        self.stop_arm(fast=True)
        self._channel.answer(0, 1, reason)
        self.report()

    def _heed_stop(self) -> None:
        """Do not override a stop that somebody else asked for."""
        self._heeded = self.stops.foreign
        self._give_up_targets()
        self.slow_requests.cancel()
        self.epoch += 1
        self.report()

    def _stop_call(self, *, fast: bool) -> int:
        if self._arm is None:
            return -1
        code = self._arm.rm_set_arm_stop() if fast else self._arm.rm_set_arm_slow_stop()
        return int(code)
