"""The gesture that calibrates an operator, step by step, and how long its result holds."""

import math
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import UsageError
from ate_core.hand_mapping import HandMapping
from ate_teleop.calibration import (
    CalibrationConfig,
    HandCalibration,
    Stroke,
    calibrated,
    fit,
    judge_stroke,
)
from ate_teleop.clutch import ClutchConfig, HandView, hand_loss

Array = NDArray[np.float64]

UNCALIBRATED = "none: the headset's own front and the cell's hand_rotation are used"
RECENTRED = "the headset was centred anew"
"""Why a heading holds no longer."""


class CalibrationStep(Enum):
    """What the person is asked for."""

    IDLE = ""
    FORWARD = (
        "calibrating, the arm holds: fingers forward, hold the clutch, push the hand 0.2 m "
        "forward, release"
    )
    ASIDE = "calibrating, the arm holds: now hold the clutch, push 0.2 m to one side, release"


@dataclass(frozen=True, kw_only=True)
class CalibrationNews:
    """What a tick has brought."""

    sentence: str
    """For people."""
    good: bool
    """Whether it is good news."""
    result: HandCalibration | None = None
    """To be stored: it was fitted, or has become void."""


@dataclass(kw_only=True)
class _Path:
    """A stroke under way."""

    since: float
    poses: list[Array] = field(default_factory=list)
    session: int = -1
    frame: int = -1
    origin: int = -1

    def take(self, view: HandView) -> None:
        """Add a pose that is new."""
        if self.poses and view.session != self.session:
            raise UsageError("the hand jumped, or the headset was centred anew, on the way")
        if (view.session, view.frame) != (self.session, self.frame):
            self.session, self.frame, self.origin = view.session, view.frame, view.origin
            self.poses.append(view.pose)


class Calibrator:
    """Leads through the gesture and keeps what came of it; `step` is called once per tick."""

    def __init__(
        self,
        mapping: HandMapping,
        hand: str,
        config: CalibrationConfig | None = None,
        clutch: ClutchConfig | None = None,
    ) -> None:
        """Begin without a calibration; `mapping` is the cell's, `hand` left or right."""
        self._nominal, self._hand = mapping, hand
        self._config, self._clutch = config or CalibrationConfig(), clutch or ClutchConfig()
        self._calibration: HandCalibration | None = None
        self._origin: int | None = None  # of the headset's frame in which the heading holds
        self._step = CalibrationStep.IDLE
        self._since = 0.0
        self._quiet_until = -math.inf
        self._path: _Path | None = None
        self._forward: tuple[Stroke, int] | None = None
        self._refusal, self._holds = "", UNCALIBRATED
        self.begun = 0
        """Calibrations begun so far."""
        self.strokes = 0
        """Good strokes so far: the hand feels each."""
        self.fits = 0
        """Calibrations fitted so far."""
        self.refusals = 0
        """Calibrations refused so far."""

    @property
    def is_running(self) -> bool:
        """Whether a person is being led through the gesture."""
        return self._step is not CalibrationStep.IDLE

    def holds_arm(self, now: float) -> bool:
        """Whether a press of the clutch may be meant for a stroke, at a monotonic time [s]."""
        return self.is_running or now < self._quiet_until

    @property
    def calibration(self) -> HandCalibration | None:
        """What holds; None: the cell's own values."""
        return self._calibration

    @property
    def mapping(self) -> HandMapping:
        """The mapping for this person."""
        return calibrated(self._nominal, self._calibration)

    @property
    def words(self) -> str:
        """What to do now, or what came of it and what holds."""
        if self.is_running:
            return self._step.value
        return f"{self._refusal}; still in force: {self._holds}" if self._refusal else self._holds

    def take_over(self, calibration: HandCalibration | None, said: str) -> None:
        """Go on with what was stored; it holds in the headset's frame that is seen first."""
        self._calibration, self._origin, self._holds = calibration, None, said

    def step(
        self,
        now: float,
        *,
        asked: bool,
        pressed: bool,
        view: HandView | None,
        obstacle: str = "",
        hiccup: str = "",
    ) -> CalibrationNews | None:
        """Advance by one tick.

        Args:
            now: monotonic time [s].
            asked: a person asks for a calibration, or to end the one that is under way.
            pressed: the clutch's button is held on purpose.
            view: the hand.
            obstacle: why nobody can be calibrated; empty when nothing is in the way.
            hiccup: why a stroke under way is no good, or none can begin; a person who has not
                begun theirs may outlast it.
        """
        if asked or self._path is not None:
            obstacle = obstacle or hiccup
        if void := self._voided(view):
            return void
        try:
            if self.is_running and not asked and not obstacle:
                return self._lead(now, pressed, view)
            if obstacle and (asked or self.is_running):
                raise UsageError(obstacle)
            if asked and self.is_running:
                raise UsageError("ended by its operator")
        except UsageError as error:
            if self.is_running:
                self._quiet_until = now + self._config.afterwards
            self._step, self._path, self._refusal = CalibrationStep.IDLE, None, f"refused: {error}"
            self.refusals += 1
            return CalibrationNews(sentence=f"calibration {self._refusal}", good=False)
        return self._ask(CalibrationStep.FORWARD, now) if asked else None

    def _ask(self, step: CalibrationStep, now: float) -> CalibrationNews:
        self._step, self._since, self._path = step, now, None
        self.begun += step is CalibrationStep.FORWARD
        return CalibrationNews(sentence=step.value, good=True)

    def _lead(self, now: float, pressed: bool, view: HandView | None) -> CalibrationNews | None:
        """Gather the poses of a stroke while the button is held, and judge it afterwards.

        Raises:
            UsageError: why the calibration is refused.
        """
        config, path = self._config, self._path
        if path is None:
            if pressed:
                self._path = _Path(since=now)
            elif now - self._since > config.patience:
                raise UsageError(f"no stroke came within {config.patience:.0f} s")
            return None
        if not pressed:
            return self._use(judge_stroke(path.poses, config), path.origin, now)
        if now - path.since > config.longest:
            raise UsageError(f"a stroke took longer than {config.longest:.0f} s")
        if loss := hand_loss(view, self._clutch):
            raise UsageError(loss)
        if view is not None:
            path.take(view)
        return None

    def _use(self, stroke: Stroke, origin: int, now: float) -> CalibrationNews:
        """Take a stroke that is good enough; after the second one the result."""
        forward = self._forward
        if self._step is CalibrationStep.FORWARD or forward is None:
            self._forward = (stroke, origin)
            self.strokes += 1
            return self._ask(CalibrationStep.ASIDE, now)
        if forward[1] != origin:
            raise UsageError(f"{RECENTRED} between the strokes")
        nominal = self._nominal.rotation_tool_to_wrist
        result = fit(forward[0], stroke, nominal, self._hand, self._config)
        self._calibration, self._origin = result, origin
        self._step, self._path, self._refusal = CalibrationStep.IDLE, None, ""
        self._holds = result.sentence()
        self.strokes += 1
        self.fits += 1
        return CalibrationNews(sentence=f"calibrated: {self._holds}", good=True, result=result)

    def _voided(self, view: HandView | None) -> CalibrationNews | None:
        """Give up a heading whose frame is no longer that of the headset."""
        calibration = self._calibration
        if calibration is None or calibration.void or view is None:
            return None
        if self._origin is None:
            self._origin = view.origin
        if view.origin == self._origin:
            return None
        self._calibration = result = replace(calibration, void=RECENTRED)
        self._holds = result.sentence()
        return CalibrationNews(sentence=f"calibration {self._holds}", good=False, result=result)
