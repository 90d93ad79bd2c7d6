"""The link process: it owns the vendor's SDK and the connection to one arm, and nothing else.

``python -m realman_driver.link FD CONFIG EPOCH`` is started by `ArmClient` with one end of a
SEQPACKET socketpair. It waits until the controller is there, connects once, forwards targets and
states, and ends when the link is lost; the client then starts another. It stops the arm by itself,
and counts that in its epoch, when the node falls silent after targets or is gone, and when targets
come late: because the node, this process or the controller stood still.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from ate_core.errors import DeviceError
from ate_core.priority import CONTROL, set_niceness
from ate_core.stream_wall import LARGEST_STEP_DEG
from realman_driver import records, sdk
from realman_driver.connection import Connection, find_connection
from realman_driver.pacing import LONGEST_GAP, TargetPacer
from realman_driver.records import Clear, Identity, Pulse, Settle, Stop, Stream
from realman_driver.sdk import LinkConfig
from realman_driver.stopper import Stopper, StopWatch

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
"""Questions in a row without an answer after which the link is given up."""
HICCUP, HICCUP_CYCLES = 0.030, 2
"""After this silence of the push [s, its periods] the controller is asked at once if it lives."""
LIFE_AGE, LIFE_CYCLES = 0.060, 3
"""A controller that neither pushed nor answered for this long [s, periods] gets no targets."""
ANSWER_AGE = 0.4
"""Nor does one that pushes, but leaves a question unanswered for this long [s]."""
WATCH_PERIOD = 0.05
"""How often the node is told that this process lives [s]."""
LOOK_PERIOD = 0.02
"""How often the link is looked at [s]."""
CALL_TIMEOUT = 2.0
"""A call into the SDK that lasts longer will not return [s]."""
FRAME_TIMEOUT = 0.3
"""The same for a streamed target, which takes a tenth of a millisecond [s]."""
NODE_SILENCE = 0.1
"""After targets, silence of the node for this long stops the arm [s]."""
MOST_UNACKNOWLEDGED = 2048
"""Bytes on their way with which no target is added [bytes]: a dozen targets. More of them wait in
this machine for a network that is gone, and would all be delivered when it comes back."""
REST_TIMEOUT = 0.5
"""Longest wait for the arm to come to rest, before a glide or the end of this process [s]."""
REST_SPEED = 30
"""Joint speed that counts as rest, as the controller pushes it [0.01 RPM]."""
SETTLE_PERCENT = 10
"""Speed of the glide of a set point, per cent of the joints' largest."""
SETTLE_TIMEOUT = 4.0
"""Longest glide of a set point [s]."""
FAST_STOP = b'{"command":"set_arm_stop"}\r\n'
SLOW_STOP = b'{"command":"set_arm_slow_stop"}\r\n'
FAST_STATUS, SLOW_STATUS, MOVE_STATUS = b'"stop"', b'"slow_stop"', b'"move_J"'
"""Found in a state packet while the arm is stopped, or glides."""
LONGEST_PUSH = 12000
"""A longer packet is not forwarded; those of a controller end at 2047 [bytes]."""


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
        cycle = sdk.CYCLE * config.cycle
        self._hiccup = max(HICCUP, HICCUP_CYCLES * cycle)
        self._life_age = max(LIFE_AGE, LIFE_CYCLES * cycle)
        channel.setblocking(False)  # nothing here waits for the node
        self._channel = channel
        self._arm: Any = None
        self._connection: Connection | None = None
        self._phase = records.KNOCKING
        self._step: tuple[str, float] | None = None
        self._frame_at = 0.0
        self._epoch = epoch
        self._pacer = TargetPacer()
        self._streaming = False
        self._heard = time.monotonic()
        self._frames = self._refused = self._pushes = self._repeated = 0
        self._packet = b""
        self._pushed = threading.Event()
        self._pushed_at = self._answered_at = 0.0
        self._ending = threading.Event()
        self._left = threading.Event()
        self._news = threading.Condition()
        self._settling: Settle | None = None
        self._parent = os.getppid()

        def make_stopper(line: bytes, status: bytes, *, fast: bool) -> Stopper:
            return Stopper(line, status, lambda: self._stop_call(fast=fast), self._answer)

        self._fast = make_stopper(FAST_STOP, FAST_STATUS, fast=True)
        self._slow = make_stopper(SLOW_STOP, SLOW_STATUS, fast=False)
        self._stops = StopWatch((self._fast, self._slow))
        self._heeded = 0

    def start(self) -> None:
        """Listen to the node and tell it that this process lives; no thread dies unnoticed."""

        def hook(args: threading.ExceptHookArgs) -> None:
            self.died("unknown" if args.thread is None else args.thread.name, args.exc_value)

        threading.excepthook = hook
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
            while not self._send(records.pack_identity(identity)):
                if self._ending.wait(LOOK_PERIOD):  # without it the node has no link
                    break
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
        self._connection = find_connection(config.ip, config.tcp_port)
        if not self._pushed.wait(FIRST_PUSH_TIMEOUT):
            raise DeviceError(
                f"arm {config.ip} pushes no state to UDP port {config.udp_port}: check the "
                "firewall, and that no other process uses this port"
            )
        self._arm = arm
        return identity

    def _watch(self) -> str:
        """Wait for the end of the link; why it ended, or empty when asked to."""
        assert self._connection is not None
        ip = self._config.ip
        probed_at, misses = time.monotonic(), 0
        while not self._ending.wait(LOOK_PERIOD):
            now = time.monotonic()
            silence = now - self._pushed_at
            if self._connection.ended:
                return f"{ip} closed the connection"
            if silence > PUSH_TIMEOUT:
                return f"no new state from {ip} for {PUSH_TIMEOUT * 1e3:.0f} ms"
            period = STREAM_PROBE_PERIOD if self._streaming else PROBE_PERIOD
            if now - probed_at < period and silence < self._hiccup:
                continue
            code = self._timed("probe", lambda: self._arm.rm_get_joint_degree()[0])
            probed_at = time.monotonic()
            misses = 0 if code == 0 else misses + 1
            if code == 0:
                self._answered_at = probed_at
            elif misses == PROBE_MISSES and not self._ending.is_set():
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
        while True:
            wait = self._pacer.wait(time.monotonic())
            select.select([self._channel], [], [], wait)  # keeps microseconds, poll does not
            self.turn()

    def turn(self) -> None:
        """Take what the node sent and let a target leave; at least every 10 ms."""
        late = self._pacer.lateness(time.monotonic())
        if self._streaming and late > LONGEST_GAP:
            self._stop_by_itself(f"the link stood still for {late * 1e3:.0f} ms")
        self._take_waiting()
        if self._stops.foreign != self._heeded:
            self._heed_stop()
        self._send_target()
        if self._streaming and time.monotonic() - self._heard > NODE_SILENCE:
            self._stop_by_itself(f"the driver was silent for {NODE_SILENCE * 1e3:.0f} ms")

    def _take_waiting(self) -> None:
        """Take the orders that wait: of targets only the newest counts."""
        while True:
            try:
                data = self._channel.recv(records.LARGEST)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._leave(ORPHANED)
            now = self._heard = time.monotonic()
            with contextlib.suppress(records.RecordError):
                self._take(records.unpack_order(data))
            if self._pacer.is_fresh(now):  # nothing waited before it: no need to look for more
                return

    def _take(self, order: records.Order) -> None:
        if isinstance(order, Stream):
            void = self._arm is None or order.epoch != self._epoch or self._settling is not None
            self._refused += void or self._pacer.offer(order)
        elif isinstance(order, Stop):
            self._give_up_targets()
            self._settling = None
            (self._fast if order.fast else self._slow).request(order.ticket, self._connection)
        elif isinstance(order, Settle):
            self._give_up_targets()
            self._settling = order
            threading.Thread(
                target=self._settle, args=(order,), name="settle", daemon=True
            ).start()
        elif isinstance(order, Clear):
            threading.Thread(target=self._clear, args=(order,), name="clear", daemon=True).start()
        elif order == records.END:
            self._leave(OK)

    def _send_target(self) -> None:
        """Let the newest target leave when it is time, or stop the arm when it is too late."""
        now = time.monotonic()
        age, target = self._pacer.age(now), self._pacer.take(now)
        if target is None:
            return
        trouble = self._trouble(target, age, now)
        if trouble:
            self._refused += 1
            self._stop_by_itself(trouble)
            return
        self._streaming = True
        self._pacer.sent(target, now)
        self._frame_at = now
        # High follow, raw: the filter before this has limited speed and acceleration.
        self._arm.rm_movej_canfd(list(target[: self._config.joints]), True)
        self._frame_at = 0.0
        self._frames += 1

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
        silence = now - max(self._pushed_at, self._answered_at)
        if silence > self._life_age:
            return f"no sign of the controller for {silence * 1e3:.0f} ms"
        probe = self._step
        if probe is not None and now - probe[1] > ANSWER_AGE:
            return f"the controller has not answered for {ANSWER_AGE * 1e3:.0f} ms"
        waiting = self._connection.unacknowledged()
        if waiting > MOST_UNACKNOWLEDGED:
            return f"{waiting} bytes have not arrived, bound {MOST_UNACKNOWLEDGED}"
        step = self._pacer.step(target, lambda: self._told("joint_position", 1e-3))
        if step > LARGEST_STEP_DEG:
            return f"a target is {step:.1f} degrees from the last, bound {LARGEST_STEP_DEG:g}"
        return ""

    def _give_up_targets(self) -> None:
        self._streaming = False
        self._pacer.forget()

    def _stop_by_itself(self, reason: str) -> None:
        """Stop the arm, void all targets that do not know of it, and tell the node."""
        self._give_up_targets()
        self._epoch += 1
        self._fast.request(0, self._connection)
        self._answer(0, 1, reason)
        self._report_pulse()

    def _heed_stop(self) -> None:
        """Do not override a stop that somebody else asked for."""
        self._heeded = self._stops.foreign
        self._give_up_targets()
        self._settling = None
        self._epoch += 1
        self._report_pulse()

    def _stop_call(self, *, fast: bool) -> int:
        if self._arm is None:
            return -1
        code = self._arm.rm_set_arm_stop() if fast else self._arm.rm_set_arm_slow_stop()
        return int(code)

    # --- slow requests, each in a thread of its own --------------------------------------

    def _clear(self, order: Clear) -> None:
        code, text = -1, "no link"
        try:
            if self._arm is not None:
                text = "the library raised"
                codes = [self._arm.rm_clear_system_err()]
                for number in order.joints:
                    codes.append(self._arm.rm_set_joint_clear_err(number))
                    codes.append(self._arm.rm_set_joint_en_state(number, 1))
                code = int(any(codes))
                text = f"codes {codes}" if code else ""
        finally:
            self._answer(order.ticket, code, text)

    def _settle(self, order: Settle) -> None:
        code, text = -1, "no link"
        try:
            if self._arm is not None:
                text = "the library raised"
                code, text = self._glide(order)
        finally:
            if self._settling is order:
                if code == 0:
                    self._pacer.forget(stands=self._told("joint_position", 1e-3))
                self._settling = None
            self._answer(order.ticket, code, text)

    def _glide(self, order: Settle) -> tuple[int, str]:
        """Let the set point glide and wait for its end; code and why not.

        Only when the arm rests and its controller has confirmed the stops before: a move in the
        middle of a brake would end the brake, and its goal would be a place passed long ago.
        """
        since = self._pushes

        def rests() -> bool:
            confirmed = not (self._fast.is_open or self._slow.is_open)
            return (confirmed and self._at_rest(since)) or self._settling is not order

        if not (self._wait_for(rests, REST_TIMEOUT) and self._settling is order):
            return 1, "the arm did not come to rest"
        q = list(self._told("joint_position", 1e-3)[: self._config.joints])
        code = int(self._arm.rm_movej(q, SETTLE_PERCENT, 0, 0, 0))
        if self._settling is not order:  # a stop came while the move was on its way
            self._slow.request(0, self._connection)
        if code != 0:
            return code, f"movej gave {code}"
        since = self._pushes

        def ended() -> bool:  # the status says move_J at once, so the second push tells
            glided = MOVE_STATUS not in self._packet and self._pushes >= since + 2
            return glided or self._settling is not order

        if not (self._wait_for(ended, SETTLE_TIMEOUT) and self._settling is order):
            return 1, "the glide did not end"
        return 0, ""

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
                with self._news:
                    self._news.notify_all()
                continue
            now = time.monotonic()
            self._packet, self._pushed_at = packet, now
            self._stops.look(packet, now)
            state = records.State(self._epoch, self._stops.foreign, now, time.time_ns(), packet)
            self._send(records.pack_state(state))
            self._pushed.set()
            with self._news:
                self._news.notify_all()

    def _told(self, field: str, unit: float) -> tuple[float, ...]:
        """Joint values of the newest packet; none when it says none."""
        try:
            values = json.loads(self._packet)["joint_status"][field]
            return tuple(float(value) * unit for value in values)
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
            return ()

    def _answer(self, ticket: int, code: int, text: str = "") -> None:
        self._send(records.pack_answer(ticket, code, text))

    def _send(self, record: bytes) -> bool:
        """Never wait for the node; what finds no room is lost, and the answer is False."""
        try:
            self._channel.send(record)
        except OSError:
            return False
        return True

    def _report_pulse(self) -> None:
        pulse = Pulse(
            self._phase, self._epoch, self._frames, self._refused, self._pushes, self._repeated
        )
        self._send(records.pack_pulse(pulse))

    # --- life and end --------------------------------------------------------------------

    def _pulse(self) -> None:
        while True:
            self._report_pulse()
            now, step, frame_at = time.monotonic(), self._step, self._frame_at
            if step is not None and now - step[1] > CALL_TIMEOUT:
                self._give_up(f"the SDK does not return from: {step[0]}")
            if frame_at and now - frame_at > FRAME_TIMEOUT:
                self._give_up("the SDK does not return from a streamed target")
            if os.getppid() != self._parent:
                self._leave(ORPHANED)
            time.sleep(WATCH_PERIOD)

    def died(self, thread: str, error: BaseException | None) -> NoReturn:
        """A thread of this process raised: none may be missing unnoticed."""
        traceback.print_exception(error)
        self._give_up(f"thread {thread!r} of the link process died of {error!r}", DIED)

    def _give_up(self, problem: str, code: int = WEDGED) -> NoReturn:
        """End at once; the controller stops its arm too when the connection closes."""
        if self._connection is not None:
            self._connection.send(FAST_STOP)
        self._send(records.pack_problem(problem))
        self.end(code)

    def _leave(self, code: int) -> NoReturn:
        """Bring the arm to rest and end, whatever hangs."""
        self._ending.set()
        if self._arm is not None:
            (self._fast if code == ORPHANED else self._slow).request(0, self._connection)
            since = self._pushes
            self._wait_for(lambda: self._at_rest(since), REST_TIMEOUT)
        self._left.set()
        self.end(code)

    def _at_rest(self, since: int) -> bool:
        """Whether the arm stands, as the second push after ``since`` of them says, or a later."""
        speeds = self._told("joint_speed", 1.0) if self._pushes >= since + 2 else ()
        return bool(speeds) and max(map(abs, speeds)) < REST_SPEED

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
    sys.setswitchinterval(0.0005)  # a target must not wait 5 ms for a thread that computes
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
