"""What every source of hand poses delivers, and the checks a pose passes before it is used.

The headset frame has x right, y forward, z up, in metres; its origin is where the headset's
session placed it, so it means nothing across two sessions.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from operator_devices.link_delay import LinkDelay
from operator_devices.plain_pose import PlainPose
from operator_devices.recentring import RecentringWatch

Matrix = NDArray[np.float64]

TRANSFORM_ARKIT_TO_HEADSET: Matrix = np.array(
    [[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]]
)
"""ARKit's world (x right, y up, -z forward) to the headset frame: +90 degrees about x."""
TRANSFORM_HEADSET_TO_ARKIT: Matrix = TRANSFORM_ARKIT_TO_HEADSET.T.copy()

UNSOUND = "the headset sends poses that are no numbers or no rotations: restart its app"
TOO_FAR = "the hand is further from the head than an arm is long: the headset must send metres"
HEAD_STILL = "the headset does not know where it is: give it light and uncover its cameras"
NEVER_SEEN = "the hand has not been seen yet: raise it into the headset's view"
"""What is known of a hand that is not tracked."""
_UNSEEN = PlainPose.of(TRANSFORM_ARKIT_TO_HEADSET)
"""What is sent of such a hand: exactly the identity on the wire."""
_NOWHERE = PlainPose.of(np.eye(4))


@dataclass(frozen=True, kw_only=True)
class HandSample:
    """One pose of one hand, with the two ages that tell a live hand from a remembered one."""

    transform_wrist_to_headset: Matrix
    """(4, 4) wrist coordinates to headset coordinates."""
    transform_head_to_headset: Matrix
    """(4, 4) head coordinates (x right, y forward, z up) to headset coordinates."""
    received_ns: int
    """Monotonic time at which the newest message arrived [ns]."""
    changed_ns: int
    """Monotonic time of the message in which the wrist last moved, by more than rounding [ns]."""
    sequence: int
    """Counts messages since the source was started."""
    session: int
    """Counts unbroken runs of poses; a clutch engaged in one is void in all others."""
    tracked: bool
    """Whether the hand was seen: ever, recently, and with a sound pose."""
    delay: float = 0.0
    """How much later than at first the messages of this session arrive [s]."""
    origin: int = 0
    """Counts moves of the headset's frame: it was centred anew, or another app or headset came."""
    flaw: str = ""
    """Why the hand is not tracked, where more is known than that; for people."""


class HandPoseSource(Protocol):
    """Anything that delivers hand poses: a headset, an emulated one, a file."""

    def start(self) -> None:
        """Begins delivering in the background; returns at once, device or no device."""

    def stop(self) -> None:
        """Ends the background work and waits for it."""

    def latest(self) -> HandSample | None:
        """The newest sample, or None before the first."""

    def wait_change(self, changed_ns: int, timeout: float) -> None:
        """Waits for a pose other than that of `changed_ns`, for `timeout` [s] at most."""

    @property
    def connected(self) -> bool:
        """Whether messages are arriving now."""

    @property
    def status(self) -> str:
        """One line for the operator: what the source is doing, and a remedy."""

    @property
    def trouble(self) -> str:
        """Why no hand can be seen, and a remedy; empty while the source delivers."""


def is_rigid(transform: Matrix) -> bool:
    """Whether a (4, 4) matrix is finite, and a proper rotation with a translation beside it."""
    return PlainPose.of(transform).is_rigid()


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """When a stream of wrist matrices counts as one unbroken, live motion."""

    unchanged_limit: float = 0.1
    """A live hand is noisy: a wrist that stands still for longer than this, but for rounding, is a
    remembered one [s]."""
    head_limit: float = 0.3
    """A live head breathes: one that has moved and then stands still for longer than this is a
    remembered one, and moves of the headset's frame go unseen [s]. A source that never moved it
    knows of no head."""
    arm_length: float = 3.0
    """Distance between wrist and head that no person has [m]."""
    jump_distance: float = 0.10
    """Step between two poses above which the frame or the hand was exchanged [m]."""
    jump_angle: float = 0.8
    """The same for the rotation [rad]."""
    jump_speed: float = 4.0
    """Added to `jump_distance` per second since the last change; a fast reach is 3 m/s [m/s]."""
    return_distance: float = 0.3
    """Distance of the head after a break of the stream from where it was before, above which the
    frame counts as another one [m]."""
    return_angle: float = 0.35
    """The same for its rotation [rad]."""
    return_time: float = 5.0
    """Break after which it counts as another one wherever the head is [s]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0.0:
                raise ValueError(f"{name} is {value}; it must be above 0")


class _Liveness:
    """Tells a thing that moves, if only by noise, from one that is remembered."""

    def __init__(self) -> None:
        self._pose: PlainPose | None = None  # where it was when it last moved
        self.moved_ns: int | None = None
        """Monotonic time of its last motion; None until the first [ns]."""

    def update(self, pose: PlainPose, now_ns: int) -> PlainPose:
        """Take its pose of `now_ns` [ns]; the pose into which it last moved, this one or not."""
        if self._pose is not None:
            if not pose.differs(self._pose):
                return self._pose
            self.moved_ns = now_ns
        self._pose = pose
        return pose

    def is_live(self, now_ns: int, limit: float) -> bool:
        """Whether it has moved within the last `limit` [s]."""
        return self.moved_ns is not None and now_ns - self.moved_ns <= limit * 1e9


class HandTracker:
    """Turns one hand's raw matrices into samples: checks, ages, sessions. Time is an argument."""

    def __init__(self, config: TrackingConfig | None = None) -> None:
        self._config = config or TrackingConfig()
        self._sample: HandSample | None = None
        self._sequence = 0
        self._session = 0
        # Wrist and head, of this session only.
        self._previous: tuple[PlainPose, PlainPose] | None = None
        self._wrist = _Liveness()  # of this session only
        self._head = _Liveness()  # of all sessions
        # The newest head of any session, and when.
        self._head_seen: tuple[PlainPose, int] | None = None
        self._origin = 0
        self._recentring = RecentringWatch()
        self._link = LinkDelay()
        self.rejected = 0
        """Poses refused because they were not finite, no proper rotation or no arm's."""

    @property
    def sample(self) -> HandSample | None:
        """The newest sample."""
        return self._sample

    def begin_session(self) -> None:
        """To be called at each new connection: what follows cannot continue what went before."""
        self._session += 1
        self._previous = None
        self._wrist = _Liveness()
        self._recentring.reset()
        self._link = LinkDelay()

    def lose(self) -> None:
        """Marks the hand as lost, for when the stream itself went away."""
        if self._sample is not None:
            self._sample = replace(self._sample, tracked=False)

    def update(self, wrist: Matrix, head: Matrix, now_ns: int) -> HandSample:
        """Takes wrist and head (4, 4), headset frame, of one message received at `now_ns` [ns].

        An unsound pose counts as a message that brought no change.
        """
        self._sequence += 1
        poses = PlainPose.of(wrist), PlainPose.of(head)
        flaw = self._flaw_of(*poses)
        if flaw in (UNSOUND, TOO_FAR):
            self.rejected += 1
            poses = self._previous or (_UNSEEN, _NOWHERE)
        else:
            self._see(*poses, now_ns)
            poses = self._previous or poses
        hand, changed_ns = poses[0], self._wrist.moved_ns
        tracked = self._wrist.is_live(now_ns, self._config.unchanged_limit)
        tracked = tracked and hand.differs(_UNSEEN)
        has_head = self._head.moved_ns is not None
        if tracked and has_head and not self._head.is_live(now_ns, self._config.head_limit):
            tracked, flaw = False, flaw or HEAD_STILL
        self._sample = HandSample(
            transform_wrist_to_headset=hand.matrix,
            transform_head_to_headset=poses[1].matrix,
            received_ns=now_ns,
            changed_ns=now_ns if changed_ns is None else changed_ns,
            sequence=self._sequence,
            session=self._session,
            tracked=tracked,
            delay=self._link.update(now_ns * 1e-9, hand.place),
            origin=self._origin,
            flaw="" if tracked else flaw,
        )
        return self._sample

    def _flaw_of(self, wrist: PlainPose, head: PlainPose) -> str:
        """What is wrong with the poses of a message; empty where nothing is."""
        if not (wrist.is_rigid() and head.is_rigid()):
            return UNSOUND
        if not wrist.differs(_UNSEEN):
            return NEVER_SEEN
        is_new = self._previous is None or wrist.differs(self._previous[0])
        # One that is not new is remembered while its person walks away.
        if is_new and wrist.distance(head) > self._config.arm_length:
            return TOO_FAR
        return ""

    def _see(self, wrist: PlainPose, head: PlainPose, now_ns: int) -> None:
        """Take a sound pose: whether it goes on from the one before, and in which frame."""
        config = self._config
        self._head.update(head, now_ns)
        last_ns, wrist = self._wrist.moved_ns, self._wrist.update(wrist, now_ns)
        if self._previous is not None:
            moved = self._recentring.moved(wrist, head, now_ns * 1e-9)
            moved = moved or self._jumped(head, self._previous[1], now_ns, last_ns)
            self._origin += moved
            if moved or self._jumped(wrist, self._previous[0], now_ns, last_ns):
                self._session += 1
                self._recentring.reset()
        elif self._head_seen is not None:
            before, seen_ns = self._head_seen
            self._origin += (
                now_ns - seen_ns > config.return_time * 1e9
                or head.distance(before) > config.return_distance
                or head.angle(before) > config.return_angle
            )
        self._previous = (wrist, head)
        self._head_seen = (head, now_ns)

    def _jumped(self, new: PlainPose, old: PlainPose, now_ns: int, last_ns: int | None) -> bool:
        """Whether wrist or head moved further than a person can: hands swapped, for instance.

        Args:
            new: where it is at `now_ns` [ns].
            old: where it was before.
            now_ns: monotonic time [ns].
            last_ns: monotonic time at which the wrist had moved before [ns]; None: never.
        """
        elapsed = 0.0 if last_ns is None else (now_ns - last_ns) * 1e-9
        allowed = self._config.jump_distance + self._config.jump_speed * min(elapsed, 0.1)
        return new.distance(old) > allowed or new.angle(old) > self._config.jump_angle
