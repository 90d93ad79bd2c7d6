"""The link process: it owns the vendor's SDK and the connection to one arm, and nothing else.

``python -m realman_driver.link FD CONFIG EPOCH`` is started by `ArmClient` with one end of a
SEQPACKET socketpair. It waits until the controller is there, connects once, forwards targets and
states, and ends when the link is lost; the client then starts another. It brings the arm to rest
by itself when the node falls silent after targets, or is gone.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from ate_core.errors import DeviceError
from realman_driver import records, sdk
from realman_driver.records import Clear, Identity, Pulse, Settle, Stop, Stream
from realman_driver.sdk import LinkConfig

OK, FAILED, WEDGED, ORPHANED = 0, 3, 4, 5
"""Exit codes: asked to end, no link any more, the SDK does not return, the node is gone."""

KNOCK_PERIOD = 0.5
"""Between two looks whether the controller accepts connections [s]."""
KNOCK_TIMEOUT = 1.0
"""Longest wait for the controller to accept one [s]."""
FIRST_PUSH_TIMEOUT = 1.0
"""A connected controller must push its state within this time [s]."""
PUSH_TIMEOUT = 1.0
"""Silence of the push after which the link is given up [s]: long enough for a hiccup of the
network, during which the arm holds anyway."""
PROBE_PERIOD = 1.0
"""How often a question goes over TCP [s]. Streaming frames are never answered, so a controller
that pushes but no longer reads would otherwise go unnoticed until the socket is full."""
WATCH_PERIOD = 0.05
"""How often the link is looked at, and how often the node is told that this process lives [s]."""
CALL_TIMEOUT = 2.0
"""A call into the SDK that lasts longer will not return [s]."""
FRAME_TIMEOUT = 0.3
"""The same for a streamed target, which takes a tenth of a millisecond [s]."""
NODE_SILENCE = 0.1
"""After targets, silence of the node for this long stops the arm [s]."""
LISTEN_TIMEOUT = 0.02
"""How often that silence is looked at [s]."""
FRAME_AGE = 0.1
"""Older targets waited in a queue while this process stood still; the arm is stopped [s]."""
MOST_UNREAD = 16384
"""Bytes that the controller has not taken; with more it has stopped reading [bytes]."""
CONFIRM_TIMEOUT = 0.04
"""How long a state that confirms a stop is awaited before the library is asked to stop [s]."""
REST_TIMEOUT = 0.5
"""Longest wait at the end for the arm to come to rest [s]."""
REST_SPEED = 10
"""Joint speed that counts as rest, as the controller pushes it [0.01 RPM]."""
SETTLE_PERCENT = 10
"""Speed of the glide of a set point, per cent of the joints' largest."""
SETTLE_TIMEOUT = 4.0
"""Longest glide of a set point [s]."""
FAST_STOP = b'{"command":"set_arm_stop"}\r\n'
SLOW_STOP = b'{"command":"set_arm_slow_stop"}\r\n'
STOP_STATUS, MOVE_STATUS = b'stop"', b'"move_J"'
"""Found in a state packet while the arm is stopped (``stop``, ``slow_stop``), or glides."""
LONGEST_PUSH = 12000
"""A longer packet is not forwarded; those of a controller end at 2047 [bytes]."""


class Stopper:
    """One way to stop: a line of our own on the wire at once, the library as the second way.

    The library's stop waits for the reply, and keeps its own state thread waiting meanwhile. Our
    line leaves whatever the library does, and the state that comes back confirms it.
    """

    def __init__(
        self, line: bytes, call: Callable[[], int], answer: Callable[[int, int], None]
    ) -> None:
        """Start the thread of the second way.

        Args:
            line: the stop as the controller reads it.
            call: the library's stop; returns its code.
            answer: told ticket and code.
        """
        self._line, self._call, self._answer = line, call, answer
        self._wanted = threading.Condition()
        self._tickets: list[int] = []
        self._sent_at: float | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def request(self, ticket: int, connection: socket.socket | None) -> None:
        """Stop now; ticket 0 wants no answer."""
        with self._wanted:
            self._tickets.append(ticket)
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.send(self._line, socket.MSG_DONTWAIT)
            self._sent_at = time.monotonic()
            self._wanted.notify()

    def confirm(self, code: int, now: float) -> None:
        """Answer all who asked before ``now`` [s]."""
        with self._wanted:
            if self._sent_at is None or self._sent_at >= now:
                return
            tickets, self._tickets, self._sent_at = self._tickets, [], None
            self._wanted.notify()
        for ticket in filter(None, tickets):
            self._answer(ticket, code)

    def _run(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._sent_at is not None)
                if self._wanted.wait_for(lambda: self._sent_at is None, CONFIRM_TIMEOUT):
                    continue
            self.confirm(self._call(), time.monotonic())


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
        self._channel = channel
        # A second object of the same socket: with a time limit, sending would wait too.
        self._sender = channel.dup()
        self._sender.setblocking(False)
        self._arm: Any = None
        self._tcp: socket.socket | None = None
        self._phase = records.KNOCKING
        self._step: tuple[str, float] | None = None
        self._frame_at = 0.0
        self._epoch = epoch
        self._streaming = False
        self._heard = time.monotonic()
        self._frames = self._refused = self._pushes = self._repeated = 0
        self._packet = b""
        self._pushed = threading.Event()
        self._pushed_at = 0.0
        self._ending = threading.Event()
        self._left = threading.Event()
        self._news = threading.Condition()
        self._settling: Settle | None = None
        self._parent = os.getppid()
        self._fast = Stopper(FAST_STOP, lambda: self._stop_call(fast=True), self._answer)
        self._slow = Stopper(SLOW_STOP, lambda: self._stop_call(fast=False), self._answer)
        for target in (self._read, self._pulse):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()

    # --- from knocking to the end --------------------------------------------------------

    def run(self) -> int:
        """Connect and stay connected; returns the exit code."""
        try:
            if not self._knock():
                return OK
            self._phase = records.CONNECTING
            identity = self._connect()
            self._phase = records.LINKED
            self._send(records.pack_identity(identity))
            reason = self._watch()
        except DeviceError as error:
            self._send(records.pack_problem(str(error)))
            return FAILED
        if reason:
            self._send(records.pack_problem(reason))
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
                self._send(
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
        threading.Thread(target=self._receive, args=(push,), name="states", daemon=True).start()
        self._timed("set up", lambda: sdk.set_up(arm, config))
        identity: Identity = self._timed("identify", lambda: sdk.read_identity(arm, config))
        self._tcp = sdk.find_socket(config.ip, config.tcp_port)
        if not self._pushed.wait(FIRST_PUSH_TIMEOUT):
            raise DeviceError(
                f"arm {config.ip} pushes no state to UDP port {config.udp_port}: check the "
                "firewall, and that no other process uses this port"
            )
        self._arm = arm
        return identity

    def _watch(self) -> str:
        """Wait for the end of the link; why it ended, or empty when asked to."""
        assert self._tcp is not None
        ip = self._config.ip
        poller = select.poll()
        poller.register(self._tcp, select.POLLRDHUP)
        probe_at = time.monotonic() + PROBE_PERIOD
        while not self._ending.wait(WATCH_PERIOD):
            now = time.monotonic()
            if poller.poll(0):
                return f"{ip} closed the connection"
            if now - self._pushed_at > PUSH_TIMEOUT:
                return f"no new state from {ip} for {PUSH_TIMEOUT * 1e3:.0f} ms"
            if now >= probe_at:
                probe_at = now + PROBE_PERIOD
                code = self._timed("probe", lambda: self._arm.rm_get_joint_degree()[0])
                if code != 0 and not self._ending.is_set():
                    return f"{ip} does not answer ({code})"
        return ""

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call of this thread into the SDK, watched by the pulse."""
        self._step = (name, time.monotonic())
        try:
            return call()
        finally:
            self._step = None

    # --- orders of the node, in the reading thread ---------------------------------------

    def _read(self) -> None:
        self._channel.settimeout(LISTEN_TIMEOUT)
        while True:
            try:
                data = self._channel.recv(records.LARGEST)
            except TimeoutError:
                if self._streaming and time.monotonic() - self._heard > NODE_SILENCE:
                    self._stop_by_itself()
                continue
            except OSError:
                data = b""
            if not data:
                self._leave(ORPHANED)
            self._heard = time.monotonic()
            with contextlib.suppress(records.RecordError):
                self._take(records.unpack_order(data))

    def _take(self, order: records.Order) -> None:
        if isinstance(order, Stream):
            self._stream(order)
        elif isinstance(order, Stop):
            self._streaming = False
            self._settling = None
            (self._fast if order.fast else self._slow).request(order.ticket, self._tcp)
        elif isinstance(order, Settle):
            self._streaming = False
            self._settling = order
            threading.Thread(target=self._settle, args=(order,), daemon=True).start()
        elif isinstance(order, Clear):
            threading.Thread(target=self._clear, args=(order,), daemon=True).start()
        elif order == records.END:
            self._leave(OK)

    def _stream(self, order: Stream) -> None:
        now = time.monotonic()
        if self._arm is None or order.epoch != self._epoch or self._settling is not None:
            self._refused += 1
            return
        if now - order.made > FRAME_AGE:
            # This process stood still: what waited is not to be run through in a burst.
            self._refused += 1
            self._stop_by_itself()
            return
        if self._unread() > MOST_UNREAD:  # a full socket would block the library for ever
            self._refused += 1
            return
        self._streaming = True
        self._frame_at = now
        # High follow, raw: the filter before this has limited speed and acceleration.
        self._arm.rm_movej_canfd(list(order.degrees[: self._config.joints]), True)
        self._frame_at = 0.0
        self._frames += 1

    def _unread(self) -> int:
        assert self._tcp is not None
        try:
            answer = fcntl.ioctl(self._tcp, termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return MOST_UNREAD + 1
        unread: int = struct.unpack("i", answer)[0]
        return unread

    def _stop_by_itself(self) -> None:
        self._streaming = False
        self._epoch += 1
        self._fast.request(0, self._tcp)

    def _stop_call(self, *, fast: bool) -> int:
        if self._arm is None:
            return -1
        code = self._arm.rm_set_arm_stop() if fast else self._arm.rm_set_arm_slow_stop()
        return int(code)

    # --- slow requests, each in a thread of its own --------------------------------------

    def _clear(self, order: Clear) -> None:
        if self._arm is None:
            self._answer(order.ticket, -1)
            return
        codes = [self._arm.rm_clear_system_err()]
        for number in order.joints:
            codes.append(self._arm.rm_set_joint_clear_err(number))
            codes.append(self._arm.rm_set_joint_en_state(number, 1))
        self._answer(order.ticket, int(any(codes)), f"codes {codes}" if any(codes) else "")

    def _settle(self, order: Settle) -> None:
        code, text = -1, "no link"
        if self._arm is not None:
            q = list(order.degrees[: self._config.joints])
            code = self._arm.rm_movej(q, SETTLE_PERCENT, 0, 0, 0)
            text = "" if code == 0 else f"movej gave {code}"
            if self._settling is not order:  # a stop came while the move was on its way
                self._slow.request(0, self._tcp)
        since = self._pushes

        def ended() -> bool:  # the status says move_J at once, so the second push tells
            glided = MOVE_STATUS not in self._packet and self._pushes >= since + 2
            return glided or self._settling is not order

        if code == 0 and not (self._wait_for(ended, SETTLE_TIMEOUT) and self._settling is order):
            code, text = 1, "the glide did not end"
        if self._settling is order:
            self._settling = None
        self._answer(order.ticket, code, text)

    def _wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for something that pushes tell; False when it did not come in time."""
        with self._news:
            return self._news.wait_for(condition, seconds)

    # --- reports to the node -------------------------------------------------------------

    def _receive(self, push: socket.socket) -> None:
        """Forward the state packets of this arm, in a thread of its own."""
        push.settimeout(WATCH_PERIOD)
        while True:
            try:
                packet, sender = push.recvfrom(records.LARGEST)
            except TimeoutError:
                continue
            if sender[0] != self._config.ip:
                continue
            self._pushes += 1
            if len(packet) > LONGEST_PUSH:
                continue
            # A sensor of a live arm always differs in some last digit. The same packet again is
            # an old state, however new its arrival: it must age.
            if packet == self._packet:
                self._repeated += 1
                continue
            now = time.monotonic()
            self._packet, self._pushed_at = packet, now
            self._send(records.pack_state(self._epoch, now, time.time_ns(), packet))
            self._pushed.set()
            if STOP_STATUS in packet:
                self._fast.confirm(0, now)
                self._slow.confirm(0, now)
            with self._news:
                self._news.notify_all()

    def _speed(self) -> float:
        """Largest joint speed of the newest packet, in its unit; infinite when it says none."""
        try:
            speeds = json.loads(self._packet)["joint_status"]["joint_speed"]
            return float(max(map(abs, speeds)))
        except (ValueError, TypeError, LookupError, RecursionError):
            return float("inf")

    def _answer(self, ticket: int, code: int, text: str = "") -> None:
        self._send(records.pack_answer(ticket, code, text))

    def _send(self, record: bytes) -> None:
        """Never wait for the node; what finds no room is lost."""
        with contextlib.suppress(OSError):
            self._sender.send(record)

    # --- life and end --------------------------------------------------------------------

    def _pulse(self) -> None:
        while True:
            pulse = Pulse(
                self._phase, self._epoch, self._frames, self._refused, self._pushes, self._repeated
            )
            self._send(records.pack_pulse(pulse))
            now, step, frame_at = time.monotonic(), self._step, self._frame_at
            if step is not None and now - step[1] > CALL_TIMEOUT:
                self._give_up(f"the SDK does not return from: {step[0]}")
            if frame_at and now - frame_at > FRAME_TIMEOUT:
                self._give_up("the SDK does not return from a streamed target")
            if os.getppid() != self._parent:
                self._leave(ORPHANED)
            time.sleep(WATCH_PERIOD)

    def _give_up(self, problem: str) -> NoReturn:
        self._send(records.pack_problem(problem))
        os._exit(WEDGED)  # the controller stops its arm when the connection closes

    def _leave(self, code: int) -> NoReturn:
        """Bring the arm to rest and end, whatever hangs."""
        self._ending.set()
        if self._arm is not None:
            (self._fast if code == ORPHANED else self._slow).request(0, self._tcp)
            since = self._pushes
            self._wait_for(
                lambda: self._pushes >= since + 2 and self._speed() < REST_SPEED, REST_TIMEOUT
            )
        self._left.set()
        os._exit(code)


def main() -> int:
    """Entry point: the socket's number, the configuration as JSON, the first epoch."""
    descriptor, config, epoch = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's: it brings the arm to rest
    sys.setswitchinterval(0.0005)  # a target must not wait 5 ms for a thread that computes
    channel = socket.socket(fileno=int(descriptor))
    return Link(LinkConfig(**json.loads(config)), channel, int(epoch)).run()


if __name__ == "__main__":
    code = main()
    os._exit(code)  # without the library's clean-up, which may wait for its own lock
