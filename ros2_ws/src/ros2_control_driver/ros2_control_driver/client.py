"""One arm behind a forward position controller: what is sent and read. No ROS.

The controller takes an array of joint angles and moves there as fast as its joints can; it checks
nothing and confirms nothing. So the safety filter before it is all there is, a stop is a set
point to stand at, and a link is there while states arrive and the controller listens.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arm_driver.interface import ArmIdentity, ArmSample
from arm_driver.place import OWN_MOTION, STANDING
from ate_core.devices import ArmConfig
from ate_core.errors import DeviceError, SafetyError
from ate_core.strict import build
from ros2_control_driver.description import identity_of_urdf

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

LINK_TIMEOUT = 1.0
"""Silence of the states after which the link counts as lost [s]; long before, the arm holds."""
FRESH = 0.1
"""Age up to which a state says where the arm is, and a wrench what it feels [s]."""
CLOCK_TOLERANCE = 0.02
"""Difference of the states' clock from this host's up to which their stamps are kept [s]."""
LARGEST_CLOCK_ERROR = 10.0
"""The same up to which the states are those of now; beyond, a bag is played, or a clock not set
[s]."""
CLOCK_WINDOW = 20
"""States that must all differ by more: one late delivery is no other clock."""
DROOP = 0.02
"""Distance of a standing arm from its set point that is the servos' droop [rad]."""
GLIDE_SPEED = 0.2
"""Speed at which the set point glides to the arm after a stop [rad/s]."""
SETTLED = 1e-6
"""Distance at which it is there [rad]."""
GLIDE_STEP = 0.02
"""Longest time of one step of it [s]."""
FOREIGN_DRIFT = 0.015
"""How far a standing arm may be from where it came to rest, away from its set point, before that
is no longer the controller's: less than `arm_driver.place` lets pass [rad]."""
FOREIGN_MOTION = 0.05
"""How far an arm that got no targets may move before somebody else is named [rad]."""
ACTIVE = "active"
"""Lifecycle state of a controller that passes targets on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Entries of ``options`` in the cell file."""

    command_topic: str
    """Commands of the forward position controller (Float64MultiArray), its joints base first."""
    state_topic: str
    """States of the joint state broadcaster (JointState)."""
    wrench_topic: str = ""
    """Zeroed wrench of a force torque sensor broadcaster (WrenchStamped); empty: no sensor."""
    description_topic: str = ""
    """Description of the robot (String, URDF), whose limits are compared with the model's; empty:
    not compared."""
    controller_manager: str = ""
    """Node that is asked whether the controller is active, for instance ``/controller_manager``;
    empty: not asked."""


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
    """Back end of one arm, see `arm_driver.interface`; a node feeds it with states.

    Threads: what the node brings comes from its executor, what the driver asks from the stream,
    and a stop from any thread. The lock is held for computation only, never while something is
    published, so a stop waits for nobody.
    """

    def __init__(
        self,
        arm: ArmConfig,
        publish: Callable[[Array], None],
        listeners: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare; nothing is sent before a target comes.

        Args:
            arm: joints and topics of the arm.
            publish: sends one array of joint angles (n,) [rad] to the controller.
            listeners: how many controllers listen.
            clock: monotonic time [s].
            wall_ns: wall clock of this host [ns].
        """
        self._names = arm.joint_names
        self._joint_speed = arm.joint_speed
        self._options = arm_options(arm)
        self._publish = publish
        self._listeners = listeners
        self._clock = clock
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._identity = ArmIdentity(name=self._options.command_topic)
        self._session = 0
        self._listened = False
        self._controller_state = ""
        self._sample: ArmSample | None = None
        self._last_sent: Array | None = None
        self._sent_at = -np.inf
        self._rest: Array | None = None
        self._settle_goal: Array | None = None
        self._wrench: tuple[float, Array] | None = None
        self._told: set[tuple[str, str]] = set()
        self._device_ns = 0
        self._clock_errors: deque[int] = deque(maxlen=CLOCK_WINDOW)
        self._told_clock = False
        self._bad_state = ""
        self._disordered = 0

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
            stamp_ns: device time [ns], 0 where it gives none; a repeated one is the same state
                again, and must age.
        """
        now, listens = self._clock(), self._listeners() > 0
        device_ns = stamp_ns or self._wall_ns()
        q = self._ordered(names, position)
        if q is None or (self._sample is not None and device_ns == self._device_ns):
            return
        with self._lock:
            before = self._sample if self._age(now) <= LINK_TIMEOUT else None
            if before is None or (listens and not self._listened):
                self._begin_link()
            self._listened = listens
            elapsed_ns, self._device_ns = device_ns - self._device_ns, device_ns
            velocity = self._velocity(names, velocity, q, elapsed_ns, before)
            self._sample = ArmSample(
                sequence=1 if self._sample is None else self._sample.sequence + 1,
                received=now,
                stamp_ns=self._stamp(device_ns),
                position=q,
                velocity=velocity,
                effort=self._optional("effort", names, effort),
                wrench=self._fresh_wrench(now),
                obstacle=self._obstacle(now, q, velocity),
                doubt=self._old_clock() or ("" if before is None else self._disorder(elapsed_ns)),
                mode=self._controller_state,
            )

    def take_wrench(self, wrench: Sequence[float]) -> None:
        """Take the newest zeroed wrench (6,) [N, N m]; one that is not finite is passed over."""
        values = np.array(wrench, dtype=np.float64)
        if np.all(np.isfinite(values)):
            self._wrench = (self._clock(), values)

    def take_description(self, urdf: str) -> None:
        """Take the description of the robot, whose limits must fit the model's."""
        self._identity = identity_of_urdf(
            urdf, self._options.command_topic, self._names, self._joint_speed
        )

    def take_controller_state(self, state: str) -> None:
        """Take the lifecycle state of the controller; empty when it is not known."""
        self._controller_state = state

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
        """Let the arm stand; one that was never told where to be is told nothing now."""
        if self._last_sent is not None:
            self.stop()

    def identity(self) -> ArmIdentity:
        """Topic of the controller; joints and limits where a description was published."""
        return self._identity

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
            self._sent_at, self._rest, self._settle_goal = self._clock(), None, None
        return self._send(q)

    def stop(self, *, fast: bool = False) -> bool:
        """Let the arm stand; False when there is nobody to tell.

        A moving arm ends at its last set point, as a set point behind it would throw it back; so
        does one whose states are old, as it may have left. One that stands away from its set
        point, as against an obstacle, is held where it stands; a servo's droop is not away. The
        controller does not confirm: True says that it was told.
        """
        if self.link_error:
            return False
        with self._lock:
            point = self._standing_point()
            self._last_sent, self._settle_goal = point, None
            self._sent_at = self._clock()
        return point is not None and self._send(point)

    def settle(self, q: Array) -> bool:
        """Let the set point glide to where the arm stood when this was first called.

        The servos' droop is no reason to: the arm would sink by it.
        """
        with self._lock:
            sent, now = self._last_sent, self._clock()
            if sent is None:
                return True
            if self._settle_goal is None:
                if np.max(np.abs(sent - q)) <= DROOP:
                    return True
                self._settle_goal = q.copy()
            elif np.max(np.abs(sent - self._settle_goal)) < SETTLED:
                self._settle_goal = None
                return True
            step = GLIDE_SPEED * min(now - self._sent_at, GLIDE_STEP)
            point = sent + np.clip(self._settle_goal - sent, -step, step)
            self._last_sent, self._sent_at, self._rest = point, now, None
        self._send(point)
        return False

    def health(self) -> dict[str, str]:
        """Links, states, their age and order, and who listens."""
        age = self._age(self._clock())
        return {
            "links made": str(self._session),
            "states": str(0 if self._sample is None else self._sample.sequence),
            "age of the state [ms]": "never" if np.isinf(age) else f"{age * 1e3:.0f}",
            "states out of order": str(self._disordered),
            "listeners": str(self._listeners()),
            "controller": self._controller_state or "not asked",
        }

    def clear_errors(self) -> None:
        """Check the link: this controller has no errors of its own to clear.

        Raises:
            DeviceError: no link. Faults of the hardware are cleared with its own tools.
        """
        if self.link_error:
            raise DeviceError(self.link_error)

    # --- parts -------------------------------------------------------------------------------

    def _begin_link(self) -> None:
        """Count a new link: nobody knows what the arm was told meanwhile."""
        self._session += 1
        self._last_sent = self._rest = self._settle_goal = None
        self._clock_errors.clear()
        self._told.clear()

    def _obstacle(self, now: float, q: Array, velocity: Array) -> str:
        """Why the arm follows no targets: an inactive controller, or somebody else moves it."""
        state = self._controller_state
        if state and state != ACTIVE:
            name = self._options.command_topic.split("/")[-2]
            return f"{name} is {state}: activate it (ros2 control switch_controllers)"
        if now - self._sent_at <= OWN_MOTION or not np.all(np.isfinite(q)):
            return ""
        if self._rest is None:
            self._rest = q
        # Towards its set point an arm goes by itself, for instance when it is no longer blocked.
        centre = self._rest if self._last_sent is None else self._last_sent
        farther = np.abs(q - centre) - np.abs(self._rest - centre)
        drift = np.where(farther > 0.0, np.abs(q - self._rest), 0.0)
        self._rest = np.where(farther < 0.0, q, self._rest)
        if np.max(np.abs(velocity)) < STANDING:
            if np.max(drift) > FOREIGN_DRIFT:
                # However slowly: a set point that is not the controller's would be a leap.
                self._last_sent, self._rest = None, q
            return ""
        joint = int(np.argmax(farther))
        if farther[joint] <= FOREIGN_MOTION:
            return ""
        return (
            f"somebody else moves the arm: {self._names[joint]} went {farther[joint]:.2f} rad "
            f"without targets (bound {FOREIGN_MOTION} rad); deactivate other controllers"
        )

    def _old_clock(self) -> str:
        """Why the newest state is of another time, by its stamp; may be nothing."""
        error = self._clock_errors[-1] / 1e9
        if error <= LARGEST_CLOCK_ERROR:
            return ""
        return (
            f"a stamp on {self._options.state_topic} is {error:.0f} s from now, bound "
            f"{LARGEST_CLOCK_ERROR:g} s: end the bag that is played, or synchronise the clocks"
        )

    def _disorder(self, elapsed_ns: int) -> str:
        if elapsed_ns >= 0:
            return ""
        self._disordered += 1
        return f"stamp on {self._options.state_topic} goes back by {-elapsed_ns / 1e6:.1f} ms"

    def _standing_point(self) -> Array | None:
        """Where to let the arm stand (n,); None when neither state nor set point tells."""
        sample, sent = self._sample, self._last_sent
        if sample is None or self._age(self._clock()) > FRESH:
            return sent
        if sample.doubt or not np.all(np.isfinite((sample.position, sample.velocity))):
            return sent
        if sent is None:
            return sample.position
        moves = float(np.max(np.abs(sample.velocity))) >= STANDING
        away = float(np.max(np.abs(sent - sample.position)))
        return sent if moves or away <= DROOP else sample.position

    def _fresh_wrench(self, now: float) -> Array | None:
        """Newest wrench (6,); None when it is missing or old, zeros of an arm without a sensor."""
        if not self._options.wrench_topic:
            return np.zeros(6)
        if self._wrench is None or now - self._wrench[0] > FRESH:
            return None
        return self._wrench[1]

    def _stamp(self, device_ns: int) -> int:
        """Time of a state on this host's clock: the device's, or of receipt if that is another."""
        wall_ns = self._wall_ns()
        self._clock_errors.append(abs(wall_ns - device_ns))
        if min(self._clock_errors) <= CLOCK_TOLERANCE * 1e9:
            # Late, or a stamp that means nothing.
            return device_ns if self._clock_errors[-1] <= LINK_TIMEOUT * 1e9 else wall_ns
        if not self._told_clock:
            self._told_clock = True
            log.warning(
                "stamps on %s are %.3f s off this host's clock (more than %.2f s): states are "
                "stamped on receipt; synchronise the clocks to keep the device's times",
                self._options.state_topic, (device_ns - wall_ns) / 1e9, CLOCK_TOLERANCE,
            )  # fmt: skip
        return wall_ns

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
        self._bad_state = ""
        return np.array([by_name[name] for name in self._names])

    def _optional(self, field: str, names: Sequence[str], values: ArrayLike) -> Array:
        """Values of this arm's joints (n,); zeros where the message has none.

        The broadcaster writes NaN for what the hardware never gives; what was there and is no
        number any more stays one, and the driver doubts it.
        """
        given = np.asarray(values, dtype=np.float64).tolist()
        by_name = dict(zip(names, given, strict=False))
        ordered = np.array([by_name.get(name, np.nan) for name in self._names])
        for index, name in enumerate(self._names):
            if np.isfinite(ordered[index]):
                self._told.add((field, name))
            elif np.isnan(ordered[index]) and (field, name) not in self._told:
                ordered[index] = 0.0
        return ordered

    def _velocity(
        self,
        names: Sequence[str],
        velocity: ArrayLike,
        q: Array,
        elapsed_ns: int,
        before: ArmSample | None,
    ) -> Array:
        given = np.asarray(velocity, dtype=np.float64)
        told = any(("velocity", name) in self._told for name in self._names)
        if given.size == len(names) and (told or not np.all(np.isnan(given))):
            return self._optional("velocity", names, given)
        if before is None or elapsed_ns <= 0 or not np.all(np.isfinite(before.position)):
            return np.zeros_like(q)
        speed: Array = (q - before.position) / (elapsed_ns / 1e9)
        return speed
