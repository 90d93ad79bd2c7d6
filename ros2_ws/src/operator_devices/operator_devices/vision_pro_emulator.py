"""An emulated headset: the app's gRPC service with poses set by the caller.

Each emulated headset listens on its own loopback address, because the app's port is fixed. Poses
are given in the headset frame (x right, y forward, z up) and leave as the app sends them, in
ARKit's frame. A live person is never still, so tracked wrists and the head carry a little noise.
Faults are methods; `inject` calls them by name.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc
import numpy as np

from ate_core.errors import DeviceError
from operator_devices import headset_protocol as protocol
from operator_devices.hand_pose import (
    TRANSFORM_ARKIT_TO_HEADSET,
    TRANSFORM_HEADSET_TO_ARKIT,
    Matrix,
)
from operator_devices.hand_skeleton import skeleton_frames

Hand = Literal["left", "right"]
HANDS: tuple[Hand, Hand] = ("left", "right")

_REFUSAL_PERIOD = 0.5
"""Spacing of the empty messages that a client of too low a version gets [s]."""
_RELAY_LOOK = 0.1
"""How soon a stream without messages notices its end [s]."""
_REPEATING_RATE = 139.0
"""Messages per second counted on a real headset with 90 Hz poses (issue 8 of the app) [Hz]."""


@dataclass
class _HandState:
    wrist: Matrix = field(default_factory=lambda: np.eye(4))  # (4, 4) wrist to ARKit
    sent: Matrix = field(default_factory=lambda: np.eye(4))  # identity until first tracked
    tracked: bool = False
    motion: Callable[[float], Matrix] | None = None  # wrist to headset at a monotonic time


@dataclass(frozen=True, kw_only=True)
class HeadsetEmulatorConfig:
    """How the emulated headset behaves while nothing is wrong."""

    rate: float = 90.0
    """Poses, and without the repeat fault messages, per second [Hz]."""
    jitter: float = 0.0
    """Standard deviation of a message's lateness about its even time [s]."""
    joints: Literal[25, 27] = 27
    """Joints per hand: 27, or 25 as older apps send."""
    position_noise: float = 5e-5
    """Standard deviation of the noise on a tracked wrist and on the head [m]."""
    rotation_noise: float = 2e-4
    """The same about each axis [rad]."""
    seed: int = 0
    """Seed of the noise."""
    paced: bool = True
    """Whether it sends at its rate; else only what `HeadsetEmulator.send` is given, at once."""
    minimum_version: float = protocol.MINIMUM_CLIENT_VERSION
    """Clients below this version get only empty messages."""

    def __post_init__(self) -> None:
        if not 0.0 < self.rate <= 200.0:
            raise ValueError(f"rate is {self.rate} Hz; the app sends at most 200")
        if not 0.0 <= self.jitter <= 0.02:
            raise ValueError(f"jitter is {self.jitter} s; it must be 0 to 0.02")
        if self.joints not in (25, 27):
            raise ValueError(f"joints is {self.joints}; it must be 25 or 27")


class HeadsetEmulator:
    """The app's service on `ip`:`port`. All methods may be called from any thread."""

    def __init__(
        self,
        ip: str,
        port: int = protocol.PORT,
        config: HeadsetEmulatorConfig | None = None,
    ) -> None:
        self._address = f"{ip}:{port}"
        self._config = config or HeadsetEmulatorConfig()
        self._random = np.random.default_rng(self._config.seed)
        self._skeletons = {
            tails: skeleton_frames(self._config.joints, with_tails=tails)
            for tails in (False, True)
        }
        self._lock = threading.Lock()
        self._hands: dict[Hand, _HandState] = {"left": _HandState(), "right": _HandState()}
        self._head: Matrix = np.eye(4)
        self._head_sent: Matrix = np.eye(4)
        self._offset: Matrix = np.eye(4)  # ARKit world before to after re-centring
        self._server: Any = None
        self._generation = 0
        self._echoes = 0
        self._silent = self._frozen = self._repeating = self._tails = self._swapped = False
        self._spoilt = self._is_lost = False
        self._message = b""
        self._messages = 0
        self._relays: list[queue.SimpleQueue[bytes]] = []

    def __enter__(self) -> "HeadsetEmulator":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begins to listen.

        Raises:
            DeviceError: The address cannot be bound.
        """
        if self._server is not None:
            return
        # Workers wait in their streams; eight leave room for streams that are just ending.
        pool = futures.ThreadPoolExecutor(max_workers=8, thread_name_prefix="headset-emulator")
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_stream_rpc_method_handler(
            self._answer, request_deserializer=protocol.HandUpdate.FromString
        )
        service = grpc.method_handlers_generic_handler(
            protocol.SERVICE, {protocol.METHOD: handler}
        )
        server.add_generic_rpc_handlers((service,))
        try:
            bound = server.add_insecure_port(self._address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise DeviceError(
                f"cannot listen on {self._address}; stop the program that uses it, "
                "or give the headset another address in cell.yaml"
            )
        server.start()
        self._server = server

    def stop(self) -> None:
        """Closes all streams and stops listening."""
        server, self._server = self._server, None
        if server is not None:
            self.end_stream()
            server.stop(grace=None).wait(timeout=2.0)

    def set_wrist(self, hand: Hand, transform_wrist_to_headset: Matrix) -> None:
        """Moves a hand; (4, 4) in the headset frame (x right, y forward, z up)."""
        wrist = TRANSFORM_HEADSET_TO_ARKIT @ np.asarray(transform_wrist_to_headset, dtype=float)
        with self._lock:
            self._hands[hand].wrist, self._hands[hand].motion = wrist, None

    def follow(self, hand: Hand, motion: Callable[[float], Matrix]) -> None:
        """Moves a hand along `motion`: monotonic time [s] -> (4, 4) in the headset frame.

        Each pose is that of the even time at which a headset takes it, whenever it is sent.
        """
        with self._lock:
            self._hands[hand].motion = motion

    def set_head(self, transform_head_to_headset: Matrix) -> None:
        """Moves the head; (4, 4), head axes x right, y forward, z up."""
        head = np.asarray(transform_head_to_headset, dtype=float)
        with self._lock:
            self._head = TRANSFORM_HEADSET_TO_ARKIT @ head @ TRANSFORM_ARKIT_TO_HEADSET

    def send(self, matrices: Mapping[str, Matrix | None]) -> None:
        """Sends one message as it stands, on all streams; for a headset that is not paced.

        Args:
            matrices: `head`, `left` and `right`, (4, 4) to ARKit's frame; what is None leaves as a
                pose that no reader takes.
        """
        update = protocol.HandUpdate()
        parts = {"head": update.Head, "left": update.left_hand.wristMatrix}
        parts["right"] = update.right_hand.wristMatrix
        for name, part in parts.items():
            matrix = matrices.get(name)
            protocol.write_matrix(part, np.full((4, 4), np.nan) if matrix is None else matrix)
        frames = self._skeletons[False]
        self._messages += 1
        message = bytes(update.SerializeToString()) + frames[self._messages % len(frames)]
        for relay in tuple(self._relays):
            relay.put(message)

    def set_tracked(self, hand: Hand, tracked: bool) -> None:
        """Shows or hides a hand; hidden, its wrist keeps the last value sent (first: identity)."""
        with self._lock:
            self._hands[hand].tracked = tracked

    def freeze(self, on: bool = True) -> None:
        """Fault: messages go on, nothing in them changes."""
        self._frozen = on

    def repeat(self, on: bool = True) -> None:
        """Fault: 139 messages per second for 90 poses."""
        self._repeating = on

    def silence(self, on: bool = True) -> None:
        """Fault: streams stay open, no message comes."""
        self._silent = on

    def swap_hands(self, on: bool = True) -> None:
        """Fault: the app takes each hand for the other."""
        self._swapped = on

    def spoil(self, on: bool = True) -> None:
        """Fault: no number in any message is a number."""
        self._spoilt = on

    def lose_place(self, on: bool = True) -> None:
        """Fault: the headset does not know where it is; its head stands still, its hands go on."""
        self._is_lost = on

    def send_tails(self, on: bool = True) -> None:
        """The right hand's joint list goes on with a marker and a stylus."""
        self._tails = on

    def send_benchmark_echo(self) -> None:
        """The next message is a benchmark echo, not a pose."""
        self._echoes += 1

    def end_stream(self) -> None:
        """Fault: all open streams end normally."""
        self._generation += 1

    def restart(self, pause: float = 0.0) -> None:
        """Fault: connections are reset; the app comes back after `pause` [s]."""
        self.stop()
        if pause > 0.0:
            time.sleep(pause)
        self.start()

    def recentre(self, transform_before_to_after: Matrix) -> None:
        """Fault: the Digital Crown moves the world's origin; (4, 4) between headset frames."""
        moved = TRANSFORM_HEADSET_TO_ARKIT @ transform_before_to_after @ TRANSFORM_ARKIT_TO_HEADSET
        with self._lock:
            self._offset = moved @ self._offset

    def inject(self, fault: str, value: Any = None) -> None:
        """Calls a fault by name, for a control channel; `value` is its argument or None.

        Raises:
            DeviceError: There is no such fault.
        """
        faults: dict[str, Callable[..., None]] = {
            "freeze": self.freeze,
            "repeat": self.repeat,
            "silence": self.silence,
            "swap_hands": self.swap_hands,
            "spoil": self.spoil,
            "lose_place": self.lose_place,
            "tails": self.send_tails,
            "benchmark_echo": self.send_benchmark_echo,
            "end_stream": self.end_stream,
            "restart": self.restart,
            "recentre": lambda transform: self.recentre(np.asarray(transform, dtype=float)),
        }
        if fault not in faults:
            raise DeviceError(f"no headset fault {fault!r}; choose one of {', '.join(faults)}")
        faults[fault](*(() if value is None else (value,)))

    def _answer(self, request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        """One client's stream of serialised messages."""
        if request.Head.m00 in protocol.ONE_SHOT_REQUESTS:
            yield self._next_message(time.monotonic())
            return
        refused = request.Head.m30 < self._config.minimum_version
        if not (refused or self._config.paced):
            yield from self._relay(context)
            return
        generation, due = self._generation, time.monotonic()
        random = np.random.default_rng(self._config.seed)
        while self._generation == generation and context.is_active():
            if refused:
                yield b""
            elif not self._silent:
                self._messages += 1
                yield self._next_message(due)
            rate = _REPEATING_RATE if self._repeating else self._config.rate
            now = time.monotonic()
            due = max(due + (_REFUSAL_PERIOD if refused else 1.0 / rate), now - 0.1)
            late = min(max(random.normal(0.0, self._config.jitter), -0.4 / rate), 0.4 / rate)
            time.sleep(max(0.0, due + late - now))

    def _relay(self, context: grpc.ServicerContext) -> Iterator[bytes]:
        """What `send` is given, for one client, from now on."""
        generation, relay = self._generation, queue.SimpleQueue[bytes]()
        self._relays.append(relay)
        try:
            while self._generation == generation and context.is_active():
                with contextlib.suppress(queue.Empty):
                    yield relay.get(timeout=_RELAY_LOOK)
        finally:
            self._relays.remove(relay)

    def _next_message(self, taken: float) -> bytes:
        """The message of a pose taken at a monotonic time [s]."""
        with self._lock:
            if self._echoes:
                self._echoes -= 1
                echo = protocol.HandUpdate()
                echo.Head.m00 = protocol.BENCHMARK_ECHO
                return bytes(echo.SerializeToString())
            if self._frozen and self._message:
                return self._message
            if (
                self._repeating
                and self._message
                and self._random.random() > (self._config.rate / _REPEATING_RATE)
            ):
                return self._message
            self._message = self._compose(taken)
            return self._message

    def _compose(self, taken: float) -> bytes:
        """One message; joint lists are appended ready-made, since parsers merge such parts."""
        update = protocol.HandUpdate()
        messages, flaw = [update.left_hand, update.right_hand], np.nan if self._spoilt else 1.0
        if self._swapped:
            messages.reverse()
        for hand, message in zip(HANDS, messages, strict=True):
            state = self._hands[hand]
            if state.motion is not None:
                state.wrist = TRANSFORM_HEADSET_TO_ARKIT @ state.motion(taken)
            if state.tracked:
                state.sent = self._offset @ self._shake(state.wrist)
            protocol.write_matrix(message.wristMatrix, state.sent * flaw)
        if not self._is_lost:
            self._head_sent = self._shake(self._head)
        protocol.write_matrix(update.Head, self._offset @ self._head_sent * flaw)
        frames = self._skeletons[self._tails]
        return bytes(update.SerializeToString()) + frames[self._messages % len(frames)]

    def _shake(self, pose: Matrix) -> Matrix:
        noise = self._random.standard_normal(6)
        x, y, z = self._config.rotation_noise * noise[3:]
        shaken: Matrix = pose.copy()
        # First order is enough: the rotation stays proper to 1e-7.
        shaken[:3, :3] = pose[:3, :3] @ np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]])
        shaken[:3, 3] += self._config.position_noise * noise[:3]
        return shaken
