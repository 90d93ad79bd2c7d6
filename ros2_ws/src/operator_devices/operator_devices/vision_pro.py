"""Reads one hand from a Vision Pro running the TrackingStreamer app, over gRPC.

It reads the published protocol instead of the vendor's client because that one blocks without a
headset, never notices silence, and installs signal handlers. Nothing here blocks the caller:
absence, silence and restarts of the headset end in samples that are not tracked, and every
reconnect begins a new session.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc

from ate_core.patience import Patience
from operator_devices import headset_protocol as protocol
from operator_devices.hand_pose import (
    TRANSFORM_ARKIT_TO_HEADSET,
    TRANSFORM_HEADSET_TO_ARKIT,
    HandSample,
    HandTracker,
    TrackingConfig,
)
from operator_devices.link_delay import LONGEST_DELAY

_logger = logging.getLogger(__name__)

State = Literal["stopped", "connecting", "streaming", "silent", "refused"]


@dataclass(frozen=True, kw_only=True)
class VisionProConfig:
    """Which hand of which headset, and when its silence ends the connection."""

    ip: str
    """IPv4 address of the headset."""
    hand: Literal["left", "right"]
    """The hand that is read."""
    port: int = protocol.PORT
    """TCP port of the app."""
    silence_limit: float = 0.3
    """Time without a message after which the connection is given up [s]."""
    connect_limit: float = 1.0
    """Time a new connection has to bring its first message [s]."""
    reconnect_pause: float = 0.2
    """Fixed pause between two connections [s]."""
    delay_limit: float = LONGEST_DELAY
    """Delay of the link above which the connection is given up: a new one has no queue [s]."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """When the hand counts as tracked."""

    def __post_init__(self) -> None:
        if self.hand not in ("left", "right"):
            raise ValueError(f"hand is {self.hand!r}; it must be 'left' or 'right'")
        for name in ("silence_limit", "connect_limit", "reconnect_pause", "delay_limit"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is {getattr(self, name)} s; it must be above 0")


class VisionProReader:
    """A `HandPoseSource` on the app's own stream, with a watchdog and reconnection."""

    def __init__(
        self, config: VisionProConfig, on_message: Callable[[Any, int], None] | None = None
    ) -> None:
        """Prepares the reader.

        Args:
            config: Which hand of which headset.
            on_message: Called from the reading thread with each message and its time [ns].
        """
        self._config = config
        self._on_message = on_message
        self._tracker = HandTracker(config.tracking)
        self._lock = threading.Condition()  # notified of each message
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._call: Any = None
        self._deadline_ns = 0
        self._asked_ns: int | None = None  # until the first message of a connection
        self._first_delay = 0.0
        self._state: State = "stopped"
        self._flaw = ""
        self._patience = Patience(_logger, f"headset {config.ip}:{config.port}")

    def start(self) -> None:
        """Begins connecting in the background."""
        if self._threads:
            return
        self._stop.clear()
        self._set_state("connecting")
        for target in (self._run, self._watch):
            thread = threading.Thread(
                target=target, name=f"headset-{self._config.ip}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Closes the stream and waits for the background threads."""
        self._stop.set()
        self._cancel()
        for thread in self._threads:
            thread.join(timeout=2.0)
        self._threads.clear()
        self._set_state("stopped")

    def latest(self) -> HandSample | None:
        """The newest sample, or None before the first message."""
        with self._lock:
            return self._tracker.sample

    def wait_change(self, changed_ns: int, timeout: float) -> None:
        """Waits for a pose other than that of `changed_ns`, for `timeout` [s] at most."""

        def has_changed() -> bool:
            sample = self._tracker.sample
            return sample is not None and sample.changed_ns != changed_ns

        with self._lock:
            self._lock.wait_for(has_changed, timeout)

    @property
    def connected(self) -> bool:
        """Whether messages are arriving now."""
        return self._state == "streaming"

    @property
    def state(self) -> State:
        """What the connection is doing."""
        return self._state

    @property
    def rejected(self) -> int:
        """Poses refused because they were not finite or not a proper rotation."""
        return self._tracker.rejected

    @property
    def first_delay(self) -> float:
        """Age that the first pose of this connection had at most [s].

        It was sent after it was asked for; what the link held up from its beginning is in it.
        """
        return self._first_delay

    @property
    def status(self) -> str:
        """One line for the operator: state, address and, where there is one, the remedy."""
        where = f"headset {self._config.ip}:{self._config.port}"
        return {
            "stopped": f"{where} not started",
            "connecting": f"{where} does not answer; open the TrackingStreamer app on it",
            "streaming": f"{where} streaming"
            + (f", but {self._flaw}" if self._flaw else "")
            + (
                f", perhaps {self._first_delay:.2f} s late" if self._is_late_from_the_first else ""
            ),
            "silent": f"{where} went silent; wake it and keep the app in front",
            "refused": f"{where} refuses client version {protocol.CLIENT_VERSION:.0f}; "
            "its app asks for a newer reader",
        }[self._state]

    @property
    def trouble(self) -> str:
        """Why no hand can be seen, and a remedy; empty while poses arrive."""
        return "" if self._state == "streaming" and not self._flaw else self.status

    @property
    def _is_late_from_the_first(self) -> bool:
        return self._first_delay > self._config.delay_limit

    def _set_state(self, state: State, flaw: str = "") -> None:
        changed, self._state = (state, flaw) != (self._state, self._flaw), state
        self._flaw = flaw
        if state == "streaming" and not flaw:
            if changed:
                self._patience.well(self.status)
        elif state == "stopped":
            _logger.info("%s", self.status)
        else:
            self._patience.trouble(self.status)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stream()
            with self._lock:
                self._tracker.lose()
            self._set_state("silent" if self._state == "streaming" else self._state)
            self._stop.wait(self._config.reconnect_pause)

    def _stream(self) -> None:
        """One connection, from its first to its last message."""
        target = f"{self._config.ip}:{self._config.port}"
        # One thread fewer per message; see grpc's SingleThreadedUnaryStream.
        options = [("SingleThreadedUnaryStream", 1), ("grpc.enable_retries", 0)]
        with grpc.insecure_channel(target, options=options) as channel:
            method = channel.unary_stream(
                protocol.METHOD_PATH,
                request_serializer=protocol.HandUpdate.SerializeToString,
                response_deserializer=protocol.HandUpdate.FromString,
            )
            self._expect_message_within(self._config.connect_limit)
            with self._lock:
                self._tracker.begin_session()
            try:
                request = protocol.discovery_request(_own_address(self._config.ip))
                self._asked_ns, self._first_delay = time.monotonic_ns(), 0.0
                self._call = method(request)
                if self._stop.is_set():
                    self._cancel()
                for message in self._call:
                    self._expect_message_within(self._config.silence_limit)
                    self._take(message, time.monotonic_ns())
            except (grpc.RpcError, OSError) as error:
                code = error.code() if isinstance(error, grpc.Call) else error
                _logger.debug("stream from %s ended: %s", target, code)
            finally:
                self._call = None

    def _take(self, message: Any, now_ns: int) -> None:
        hand = message.left_hand if self._config.hand == "left" else message.right_hand
        if not (message.HasField("Head") or message.ByteSize()):  # the size takes longer
            self._set_state("refused")
            return
        if message.Head.m00 == protocol.BENCHMARK_ECHO:
            return
        if self._asked_ns is not None:
            self._bound_delay(now_ns - self._asked_ns)
        if self._on_message is not None:
            self._on_message(message, now_ns)
        # Joint lists, with the marker and stylus entries behind the right one, are not read.
        wrist = TRANSFORM_ARKIT_TO_HEADSET @ protocol.read_matrix(hand.wristMatrix)
        head = protocol.read_matrix(message.Head)
        head = TRANSFORM_ARKIT_TO_HEADSET @ head @ TRANSFORM_HEADSET_TO_ARKIT
        with self._lock:
            sample = self._tracker.update(wrist, head, now_ns)
            self._lock.notify_all()
        self._set_state("streaming", sample.flaw)
        if sample.delay > self._config.delay_limit:
            _logger.warning(
                "headset %s: messages come %.1f s late and queue up; connecting anew, look at its "
                "Wi-Fi", self._config.ip, sample.delay,
            )  # fmt: skip
            self._cancel()

    def _bound_delay(self, waited_ns: int) -> None:
        """Tell of a link that may be late from its beginning; a later growth is estimated."""
        self._asked_ns, self._first_delay = None, waited_ns * 1e-9
        if self._is_late_from_the_first:
            _logger.warning(
                "headset %s: its first pose came %.2f s after it was asked for, so all may be as "
                "late; look at its Wi-Fi", self._config.ip, self._first_delay,
            )  # fmt: skip

    def _expect_message_within(self, limit: float) -> None:
        self._deadline_ns = time.monotonic_ns() + int(limit * 1e9)

    def _watch(self) -> None:
        """Cancels a silent stream: gRPC's keepalive does not report a frozen peer within 11 s."""
        while not self._stop.wait(0.25 * self._config.silence_limit):
            if time.monotonic_ns() > self._deadline_ns:
                self._cancel()

    def _cancel(self) -> None:
        call = self._call
        if call is not None:
            call.cancel()


def _own_address(peer: str) -> str:
    """The IPv4 address from which this machine reaches `peer`; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))
        return str(probe.getsockname()[0])
