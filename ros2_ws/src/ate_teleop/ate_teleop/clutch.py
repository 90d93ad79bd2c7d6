"""The dead-man clutch: when a hand may move an arm, and when it must let go."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import UsageError
from ate_core.geometry import rotation_log
from ate_teleop.retarget import mean_pose
from operator_devices.link_delay import LONGEST_DELAY

Array = NDArray[np.float64]


class ClutchState(Enum):
    """Where the clutch stands."""

    RELEASED = "released"
    """Button up."""
    ENGAGING = "engaging"
    """Button down, gathering frames for the reference."""
    ENGAGED = "engaged"
    """The arm follows the hand."""
    BLOCKED = "blocked"
    """Button still down after a loss: it must come up before the next engagement."""


@dataclass(frozen=True, kw_only=True)
class ClutchConfig:
    """When a hand may engage and for how long it may be silent."""

    frames: int = 6
    """Frames averaged into the reference: noise in it would be frozen for the whole stroke."""
    silence_limit: float = 0.2
    """Age of the newest message above which the arm is let go [s]."""
    unchanged_limit: float = 0.15
    """Time of bit-identical wrists above which the hand counts as lost [s]."""
    still_distance: float = 0.003
    """Distance of the newest frame from the mean up to which the hand is at rest [m]."""
    still_angle: float = 0.03
    """The same for the rotation [rad]."""
    delay_limit: float = LONGEST_DELAY
    """Delay of the headset's link above which the arm is let go [s]."""
    fresh_limit: float = 0.05
    """Age of a pose above which it cannot serve as reference [s]."""
    engage_limit: float = 0.5
    """Time an engagement may wait for good frames; later it would surprise the operator [s]."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise UsageError(f"clutch averages {self.frames} frames; need at least 1")
        for name in (
            "silence_limit",
            "unchanged_limit",
            "delay_limit",
            "fresh_limit",
            "engage_limit",
        ):
            if not getattr(self, name) > 0:
                raise UsageError(f"clutch {name} is {getattr(self, name)} s; need above 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class HandView:
    """What the clutch must know of a hand, with ages instead of clocks."""

    pose: Array
    """(4, 4) wrist to headset."""
    frame: int
    """Differs from pose to pose; a repeated message keeps it."""
    session: int
    """Differs after any break of the headset's frame."""
    tracked: bool
    """Whether the headset sees the hand."""
    age: float
    """Time since the newest message [s]."""
    unchanged: float
    """Time since the wrist last moved [s]."""
    delay: float = 0.0
    """How much later than at first the poses arrive [s]."""
    origin: int = 0
    """Differs once the headset's frame has moved."""
    flaw: str = ""
    """Why the hand is not tracked, where more is known than that."""


def hand_loss(hand: HandView | None, config: ClutchConfig) -> str:
    """Why a hand is of no use now; empty when it is."""
    if hand is None:
        return "the headset has sent nothing yet"
    lost = not hand.tracked or hand.unchanged > config.unchanged_limit
    if hand.age > (config.fresh_limit if lost else config.silence_limit):
        return f"headset silent for {hand.age * 1e3:.0f} ms"
    if hand.delay > config.delay_limit:
        return f"headset link is {hand.delay * 1e3:.0f} ms late"
    return (hand.flaw or "hand not tracked") if lost else ""


class Clutch:
    """State machine of one clutch; `step` is called once per tick."""

    def __init__(self, config: ClutchConfig | None = None) -> None:
        self._config = config or ClutchConfig()
        self._state = ClutchState.RELEASED
        self._reason = ""
        self._frames: list[Array] = []
        self._frame = -1
        self._session = -1
        self._pressed_at = 0.0
        self.presses = 0
        """Presses so far, whatever came of them."""

    @property
    def state(self) -> ClutchState:
        """Where the clutch stands."""
        return self._state

    @property
    def reason(self) -> str:
        """Why the clutch is not engaged although the button is down; empty otherwise."""
        return self._reason

    @property
    def reference(self) -> Array:
        """Reference pose (4, 4) of this engagement: the mean of the frames of a hand at rest.

        The mean of a moving hand lies behind it, so there the newest frame is taken.
        """
        mean, newest = mean_pose(self._frames), self._frames[-1]
        distance = float(np.linalg.norm(newest[:3, 3] - mean[:3, 3]))
        angle = float(np.linalg.norm(rotation_log(mean[:3, :3].T @ newest[:3, :3])))
        still = distance <= self._config.still_distance and angle <= self._config.still_angle
        return mean if still else newest

    def block(self, reason: str) -> None:
        """Let go for a reason from outside; the button must be released and pressed again."""
        self._frames.clear()
        if self._state is not ClutchState.RELEASED:
            self._state, self._reason = ClutchState.BLOCKED, reason

    def step(
        self, now: float, pressed: bool, hand: HandView | None, obstacle: str = ""
    ) -> ClutchState:
        """Advance by one tick.

        Args:
            now: monotonic time [s].
            pressed: the dead-man button is known to be held now.
            hand: the newest sample of the hand, or None.
            obstacle: any other reason why the arm must not follow; empty when there is none.
        """
        if not pressed:
            self._frames.clear()
            self._state, self._reason = ClutchState.RELEASED, ""
        elif self._state is ClutchState.RELEASED:
            self._state, self._session, self._pressed_at = ClutchState.ENGAGING, -1, now
            self.presses += 1
        if self._state is ClutchState.ENGAGED:
            loss = obstacle or self._loss(hand)
            if loss:
                self.block(loss)
        elif self._state is ClutchState.ENGAGING:
            self._gather(hand, obstacle)
            late = now - self._pressed_at > self._config.engage_limit
            if late and self._state is ClutchState.ENGAGING:
                self.block(self._reason or "too few hand poses")
        return self._state

    def _loss(self, hand: HandView | None) -> str:
        if hand is not None and hand.session != self._session:
            return "headset frame changed"
        return hand_loss(hand, self._config)

    def _gather(self, hand: HandView | None, obstacle: str) -> None:
        """Collect consecutive frames of one session; anything amiss starts the collection anew."""
        if hand is not None and hand.session != self._session:
            self._frames.clear()
            self._session = hand.session
        self._reason = obstacle or self._loss(hand)
        if hand is not None and not self._reason and hand.age > self._config.fresh_limit:
            self._reason = "waiting for a fresh hand pose"
        if hand is None or self._reason:
            self._frames.clear()
            return
        if hand.frame != self._frame:
            self._frame = hand.frame
            self._frames.append(hand.pose)
        if len(self._frames) >= self._config.frames:
            self._state = ClutchState.ENGAGED
