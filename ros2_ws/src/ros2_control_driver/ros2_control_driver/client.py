"""One arm behind a forward position controller: what is sent and read. No ROS.

The controller takes an array of joint angles and moves there as fast as its joints can; it checks
nothing and confirms nothing. So the safety filter before it is all there is, a stop is a set
point to stand at, and a link is there while states arrive and the controller listens.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arm_driver.interface import ArmIdentity, ArmSample
from ate_core.devices import ArmConfig
from ate_core.errors import DeviceError, SafetyError
from ate_core.strict import build

Array = NDArray[np.float64]

LINK_TIMEOUT = 1.0
"""Silence of the states after which the link counts as lost [s]; long before, the arm holds."""
STANDING = 0.05
"""Speed of the fastest joint below which an arm counts as standing [rad/s]."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Entries of ``options`` in the cell file."""

    command_topic: str
    """Commands of the forward position controller (Float64MultiArray), its joints base first."""
    state_topic: str
    """States of the joint state broadcaster (JointState)."""
    wrench_topic: str = ""
    """Zeroed wrench of a force torque sensor broadcaster (WrenchStamped); empty: no sensor."""


def arm_options(arm: ArmConfig) -> Options:
    """Options of an arm; topics that the cell does not name have their usual names.

    Raises:
        ContractError: an option is unknown.
    """
    usual = {
        "command_topic": f"{arm.namespace}/forward_position_controller/commands",
        "state_topic": f"{arm.namespace}/joint_states",
    }
    return build(Options, {**usual, **arm.options}, f"options of arm {arm.namespace}")


class ForwardPositionArm:
    """Back end of one arm, see `arm_driver.interface`; a node feeds it with states."""

    def __init__(
        self,
        arm: ArmConfig,
        publish: Callable[[Array], None],
        listeners: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent before a target comes.

        Args:
            arm: joints and topics of the arm.
            publish: sends one array of joint angles (n,) [rad] to the controller.
            listeners: how many controllers listen.
            clock: monotonic time [s].
        """
        self._names = arm.joint_names
        self._options = arm_options(arm)
        self._publish = publish
        self._listeners = listeners
        self._clock = clock
        self._lock = threading.Lock()
        self._session = 0
        self._sample: ArmSample | None = None
        self._last_sent: Array | None = None
        self._wrench: Array = np.zeros(6)
        self._bad_state = ""

    # --- what the node brings ------------------------------------------------------------

    def take_state(
        self,
        names: Sequence[str],
        position: ArrayLike,
        velocity: ArrayLike,
        effort: ArrayLike,
        stamp_ns: int,
    ) -> None:
        """Take one message of the joint state broadcaster; its joints may come in any order.

        Args:
            names: joints of the message; those of other arms are passed over.
            position: angles in that order [rad].
            velocity: speeds; may be empty, and is then taken from the angles [rad/s].
            effort: torques; may be empty [N m].
            stamp_ns: device time [ns]; a repeated one is the same state again, and must age.
        """
        now = self._clock()
        q = self._ordered(names, position)
        if q is None or (self._sample is not None and stamp_ns == self._sample.stamp_ns):
            return
        with self._lock:
            before = self._sample if self._age(now) <= LINK_TIMEOUT else None
            if before is None:
                self._session += 1
                self._last_sent = None
            self._sample = ArmSample(
                sequence=1 if self._sample is None else self._sample.sequence + 1,
                received=now,
                stamp_ns=stamp_ns,
                position=q,
                velocity=self._velocity(names, velocity, q, stamp_ns, before),
                effort=self._optional(names, effort),
                wrench=self._wrench,
            )

    def take_wrench(self, wrench: Sequence[float]) -> None:
        """Take the newest zeroed wrench (6,) [N, N m]."""
        self._wrench = np.array(wrench, dtype=np.float64)

    # --- what the driver asks --------------------------------------------------------------

    @property
    def session(self) -> int:
        """Counts links."""
        return self._session

    @property
    def link_error(self) -> str:
        """Why there is no link; empty while states arrive and the controller listens."""
        age = self._age(self._clock())
        topic = self._options.state_topic
        if self._sample is None:
            return self._bad_state or f"no joint states on {topic}: start joint_state_broadcaster"
        if age > LINK_TIMEOUT:
            return self._bad_state or f"no joint states on {topic} for {LINK_TIMEOUT * 1e3:.0f} ms"
        if self._listeners() < 1:
            return (
                f"nobody listens on {self._options.command_topic}: activate the forward position "
                "controller"
            )
        return ""

    def start(self) -> None:
        """Nothing to do: topics connect by themselves."""

    def close(self) -> None:
        """Let the arm stand."""
        self.stop()

    def identity(self) -> ArmIdentity:
        """Topic of the controller; it tells nothing of its joints or limits."""
        return ArmIdentity(name=self._options.command_topic)

    def latest(self) -> ArmSample | None:
        """Newest state."""
        return self._sample

    def stream(self, q: Array) -> bool:
        """Send one target (n,) [rad]; False when no controller listens.

        Raises:
            SafetyError: not one finite number per joint.
        """
        if q.shape != (len(self._names),) or not np.all(np.isfinite(q)):
            raise SafetyError(
                f"joint target {q} is not {len(self._names)} finite numbers: not sent"
            )
        with self._lock:
            self._last_sent = q.copy()
        return self._send(q)

    def stop(self) -> bool:
        """Let the arm stand; False when there is nobody to tell.

        A moving arm ends at its last set point, as a set point behind it would throw it back. One
        that stands, also against an obstacle, is held where it stands. The controller does not
        confirm: True says that it was told.
        """
        with self._lock:
            sample, point = self._sample, self._last_sent
        if sample is None or self.link_error:
            return False
        if point is None or float(np.max(np.abs(sample.velocity))) < STANDING:
            point = sample.position
        return self._send(point)

    def clear_errors(self) -> None:
        """Check the link: this controller has no errors of its own to clear.

        Raises:
            DeviceError: no link. Faults of the hardware are cleared with its own tools.
        """
        if self.link_error:
            raise DeviceError(self.link_error)

    # --- parts -------------------------------------------------------------------------------

    def _send(self, q: Array) -> bool:
        if self._listeners() < 1:
            return False
        self._publish(q)
        return True

    def _age(self, now: float) -> float:
        return np.inf if self._sample is None else now - self._sample.received

    def _ordered(self, names: Sequence[str], values: ArrayLike) -> Array | None:
        """Values of this arm's joints (n,), or None with the reason kept."""
        by_name = dict(zip(names, np.asarray(values, dtype=np.float64).tolist(), strict=False))
        missing = [name for name in self._names if name not in by_name]
        topic = self._options.state_topic
        if missing:
            self._bad_state = f"joint states on {topic} lack {', '.join(missing)}"
            return None
        ordered = np.array([by_name[name] for name in self._names])
        if not np.all(np.isfinite(ordered)):
            self._bad_state = f"joint states on {topic} are not finite: {ordered}"
            return None
        self._bad_state = ""
        return ordered

    def _optional(self, names: Sequence[str], values: ArrayLike) -> Array:
        """Values of this arm's joints (n,); zeros where the message has none."""
        given = np.asarray(values, dtype=np.float64).tolist()
        by_name = dict(zip(names, given, strict=False))
        ordered: Array = np.nan_to_num(np.array([by_name.get(name, 0.0) for name in self._names]))
        return ordered

    def _velocity(
        self,
        names: Sequence[str],
        velocity: ArrayLike,
        q: Array,
        stamp_ns: int,
        before: ArmSample | None,
    ) -> Array:
        if np.size(velocity) == len(names):
            return self._optional(names, velocity)
        if before is None or stamp_ns <= before.stamp_ns:
            return np.zeros_like(q)
        speed: Array = (q - before.position) / ((stamp_ns - before.stamp_ns) / 1e9)
        return speed
