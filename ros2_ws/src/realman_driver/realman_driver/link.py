"""The link process: it owns the vendor's SDK and the connection to one arm, and nothing else.

``python -m realman_driver.link FD CONFIG EPOCH`` is started by `ArmClient` with one end of a
SEQPACKET socketpair. It waits until the controller is there, connects once, forwards targets
(`realman_driver.orders`) and states (`realman_driver.states`), and ends when the link is lost; the
client then starts another.
"""

import gc
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from ate_core.errors import DeviceError
from ate_core.priority import CONTROL, SWITCH_INTERVAL, set_niceness
from realman_driver import records, sdk
from realman_driver.asked_joints import ask_joints
from realman_driver.connection import Connection, find_connection
from realman_driver.identity import misfit_of
from realman_driver.orders import FAST_STOP, NodeChannel, Orders
from realman_driver.records import Identity, Pulse
from realman_driver.sdk import LinkConfig
from realman_driver.slow_requests import REST_TIMEOUT
from realman_driver.states import States

OK, FAILED, WEDGED, ORPHANED, DIED = 0, 3, 4, 5, 6
"""Exit codes: asked to end, no link any more, the SDK does not return, the node is gone, a thread
raised."""

KNOCK_PERIOD = 0.5
"""Between two looks whether the controller accepts connections [s]."""
KNOCK_TIMEOUT = 1.0
"""Longest wait for the controller to accept one [s]."""
FIRST_PUSH_TIMEOUT = 1.0
"""A connected controller must push its state within this time [s]."""
PUSH_TIMEOUT = 1.0
"""Silence of the push after which the link is given up [s], the arm holding long before. A network
that delivers nothing at all ends it earlier: `connection.ACKNOWLEDGE_TIMEOUT`."""
PROBE_PERIOD = 1.0
"""How often a question goes over TCP [s]. Streaming frames are never answered, so a controller
that pushes but no longer reads would otherwise go unnoticed until the socket is full."""
STREAM_PROBE_PERIOD = 0.2
"""The same while targets are streamed, which would wait in its buffer [s]."""
PROBE_MISSES = 2
"""Questions in a row without an answer, or whose answers contradict the push, after which the link
is given up."""
HICCUP, HICCUP_CYCLES = 0.030, 2
"""After this silence of the push [s, its periods] the controller is asked at once if it lives."""
PULSE_PERIOD = 0.05
"""How often the node is told that this process lives [s]."""
LOOK_PERIOD = 0.02
"""How often the link is looked at [s]."""
CALL_TIMEOUT = 2.0
"""A call into the SDK that lasts longer will not return [s]."""
FRAME_TIMEOUT = 0.3
"""The same for a streamed target, which takes a tenth of a millisecond [s]."""


class Link:
    """One connection to one arm, from knocking to its end."""

    def __init__(self, config: LinkConfig, channel: socket.socket, epoch: int) -> None:
        """Prepare; `run` connects.

        Args:
            config: the arm.
            channel: this process's end of the socketpair.
            epoch: where the count of its own stops begins.
        """
        self._config = config
        self._hiccup = max(HICCUP, HICCUP_CYCLES * sdk.CYCLE * config.cycle)
        self._channel = NodeChannel(channel)
        self._connection: Connection | None = None
        self._phase = records.KNOCKING
        self._step: tuple[str, float] | None = None
        self._ending = threading.Event()
        self._left = threading.Event()
        self._parent = os.getppid()
        self.states = States(config.ip, config.joints, self._forward)
        """What the controller pushes."""
        self.orders = Orders(config, self._channel, self.states, epoch, self._leave)
        """What the node asks."""
        self.orders.report = self._report_pulse

    def start(self) -> None:
        """Listen to the node and tell it that this process lives; no thread dies unnoticed."""

        def hook(args: threading.ExceptHookArgs) -> None:
            self.died("unknown" if args.thread is None else args.thread.name, args.exc_value)

        threading.excepthook = hook
        for name, target in (("orders", self.orders.read), ("pulse", self._pulse)):
            threading.Thread(target=target, name=name, daemon=True).start()

    def link(self, arm: Any, connection: Connection) -> None:
        """Take a connected arm: from now on the orders of the node reach it."""
        self._connection = connection
        self.orders.link(arm, connection)

    # --- from knocking to the end --------------------------------------------------------

    def run(self) -> int:
        """Connect and stay connected; returns the exit code."""
        try:
            if not self._knock():
                return OK
            self._phase = records.CONNECTING
            identity = self._connect()
            self._phase = records.LINKED
            while not self._channel.send(records.pack_identity(identity)):
                if self._ending.wait(LOOK_PERIOD):  # without it the node has no link
                    break
            reason = self._watch()
        except DeviceError as error:
            self._channel.send(records.pack_problem(str(error)))
            return FAILED
        if reason:
            self._channel.send(records.pack_problem(reason))
            return FAILED
        self._left.wait(2.0 * REST_TIMEOUT)  # the reading thread brings the arm to rest and ends
        return OK

    def _knock(self) -> bool:
        """Wait until the controller accepts connections; False when asked to end.

        The SDK is used once in a process, so it must not be spent on a controller that is off.
        """
        config = self._config
        while not self._ending.is_set():
            try:
                socket.create_connection((config.ip, config.tcp_port), KNOCK_TIMEOUT).close()
            except OSError as error:
                self._channel.send(
                    records.pack_problem(
                        f"{config.where} does not answer ({error.strerror or error}): check "
                        "power, cable and the ip in the cell file"
                    )
                )
            else:
                return True
            self._ending.wait(KNOCK_PERIOD)
        return False

    def _connect(self) -> Identity:
        config = self._config
        push = sdk.open_push(config)
        arm = self._timed("connect", lambda: sdk.open_arm(config))
        self.states.start(push)
        identity: Identity = self._timed("identify", lambda: sdk.read_identity(arm, config))
        self._refuse_other(identity)
        self._timed("set up", lambda: sdk.set_up(arm, config))
        connection = self._connection = find_connection(config.ip, config.tcp_port)
        if not self.states.wait_for(lambda: bool(self.states.packet), FIRST_PUSH_TIMEOUT):
            raise DeviceError(
                f"arm {config.ip} pushes no state to UDP port {config.udp_port}: check the "
                "firewall, and that no other process uses this port"
            )
        _, wrong = self._timed("compare", lambda: ask_joints(arm, self.states))
        if wrong:
            raise DeviceError(f"arm {config.ip} {wrong}")
        # A collection goes through 20,000 objects, the library's module above all, in 10 to 20 ms:
        # too near the 30 ms by which a target may be late. What is there now stays.
        gc.collect()
        gc.freeze()
        self.link(arm, connection)
        return identity

    def _refuse_other(self, identity: Identity) -> None:
        """End at a controller that is not the cell's before anything is changed in it.

        Raises:
            DeviceError: it is another one.
        """
        wrong = misfit_of(identity, self._config)
        if wrong:
            self._channel.send(records.pack_identity(identity))
            raise DeviceError(f"{self._config.where} is left as it is: {wrong}")

    def _watch(self) -> str:
        """Wait for the end of the link; why it ended, or empty when asked to."""
        assert self._connection is not None
        ip, orders = self._config.ip, self.orders
        probed_at, misses = time.monotonic(), 0
        while not self._ending.wait(LOOK_PERIOD):
            now = time.monotonic()
            silence = now - self.states.pushed_at
            if self._connection.ended:
                return f"{ip} closed the connection"
            if silence > PUSH_TIMEOUT:
                return f"no new state from {ip} for {PUSH_TIMEOUT * 1e3:.0f} ms"
            period = STREAM_PROBE_PERIOD if orders.streaming else PROBE_PERIOD
            if now - probed_at < period and silence < self._hiccup:
                continue
            wrong = self._timed("probe", orders.ask)
            probed_at = time.monotonic()
            misses = misses + 1 if wrong else 0
            if misses == PROBE_MISSES and not self._ending.is_set():
                return f"{ip} {wrong}"
        return ""

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call of this thread into the SDK, watched by the pulse."""
        self._step = (name, time.monotonic())
        try:
            return call()
        finally:
            self._step = None

    # --- reports to the node -------------------------------------------------------------

    def _forward(self, packet: bytes, now: float) -> None:
        """Forward a new state of the arm."""
        orders = self.orders
        orders.stops.look(packet, now)
        foreign = orders.stops.foreign
        state = records.State(orders.epoch, foreign, now, time.time_ns(), packet)
        self._channel.send(records.pack_state(state))

    def _report_pulse(self) -> None:
        orders, states = self.orders, self.states
        pulse = Pulse(
            self._phase,
            orders.epoch,
            orders.frames,
            orders.refused,
            states.pushes,
            states.repeated,
        )
        self._channel.send(records.pack_pulse(pulse))

    # --- life and end --------------------------------------------------------------------

    def _pulse(self) -> None:
        while True:
            self._report_pulse()
            now, step, frame_at = time.monotonic(), self._step, self.orders.frame_at
            if step is not None and now - step[1] > CALL_TIMEOUT:
                self._give_up(f"the SDK does not return from: {step[0]}")
            if frame_at and now - frame_at > FRAME_TIMEOUT:
                self._give_up("the SDK does not return from a streamed target")
            if os.getppid() != self._parent:
                self._leave(True)
            time.sleep(PULSE_PERIOD)

    def died(self, thread: str, error: BaseException | None) -> NoReturn:
        """A thread of this process raised: none may be missing unnoticed."""
        traceback.print_exception(error)
        self._give_up(f"thread {thread!r} of the link process died of {error!r}", DIED)

    def _give_up(self, problem: str, code: int = WEDGED) -> NoReturn:
        """End at once; the controller stops its arm too when the connection closes."""
        if self._connection is not None:
            self._connection.send(FAST_STOP)
        self._channel.send(records.pack_problem(problem))
        self.end(code)

    def _leave(self, orphaned: bool) -> NoReturn:
        """Bring the arm to rest and end, whatever hangs."""
        self._ending.set()
        if self.orders.linked:
            since = self.states.pushes
            self.orders.stop_arm(fast=orphaned)
            self.states.wait_for(lambda: self.states.at_rest(since), REST_TIMEOUT)
        self._left.set()
        self.end(ORPHANED if orphaned else OK)

    def end(self, code: int) -> NoReturn:
        """End without the library's clean-up, which may wait for its own lock."""
        if self._connection is not None:
            self._connection.prepare_end()
        os._exit(code)


def main() -> NoReturn:
    """Entry point: the socket's number, the configuration as JSON, the first epoch."""
    descriptor, config, epoch = sys.argv[1:]
    set_niceness(CONTROL)  # whatever the node has: this process must not be late
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's: it brings the arm to rest
    sys.setswitchinterval(SWITCH_INTERVAL)
    channel = socket.socket(fileno=int(descriptor))
    link = Link(LinkConfig(**json.loads(config)), channel, int(epoch))
    try:
        link.start()
        code = link.run()
    except BaseException as error:  # whatever it is, the arm must not go on
        link.died("main", error)
    link.end(code)


if __name__ == "__main__":
    main()
