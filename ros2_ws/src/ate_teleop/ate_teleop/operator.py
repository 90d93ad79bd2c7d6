"""One operator and one arm: hand, buttons and measured joints in, joint target and gripper out.

The order is fixed: clutch, outlier gate, filter, retargeting, inverse kinematics.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ate_teleop.buttons import OWN_EVENTS, ButtonEdges, Event, EventButtons
from ate_teleop.calibrator import CalibrationNews, Calibrator
from ate_teleop.clutch import Clutch, ClutchState, HandView
from ate_teleop.filters import OutlierGate, PoseFilter, Verdict
from ate_teleop.grip import GripControl
from ate_teleop.ik import ArmIK, IkResult
from ate_teleop.operator_settings import OperatorSettings
from ate_teleop.operator_status import OperatorOutput, OperatorStatus
from ate_teleop.retarget import Retargeter
from ate_teleop.time_base import TimeBase
from operator_devices.hand_pose import HandSample
from operator_devices.joycon_report import JoyConState

Array = NDArray[np.float64]

SCALE_STEP = 1.25
"""Factor of one press for a larger or smaller scale."""
SCALES = (0.1, 3.0)
"""Smallest and largest scale, as in a cell."""

WAITING = 0.7
"""Share of the lag that counts as not following, above which the answers wait for the arm."""

STIRRED = 0.05
"""Motion within the lag's time with which an arm still follows [rad]."""


class _Stroke:
    """What lives from one engagement to the next release."""

    def __init__(self, settings: OperatorSettings, reference: Array, frame_ns: int) -> None:
        # Starting at the reference makes the first target the present tool pose exactly.
        self.filter = PoseFilter(settings.position_filter, settings.rotation_filter, reference)
        self.gate = OutlierGate(reference, frame_ns * 1e-9, settings.gate)
        self.accepted = reference
        self.frame_ns = frame_ns
        self.stands_since: float | None = None
        self.stood_at = np.zeros(0)
        self.lagging: Array | None = None
        self.result: IkResult | None = None

    def take(self, view: HandView) -> Verdict:
        """Let the newest pose through the gate."""
        verdict = self.gate.check(view.pose, view.frame * 1e-9)
        self.frame_ns = view.frame
        if verdict is Verdict.ACCEPTED:
            self.accepted = view.pose
        return verdict


class OperatorController:
    """Combines the parts; one instance per operator, stepped at a fixed rate."""

    def __init__(
        self,
        settings: OperatorSettings,
        ik: ArmIK | None = None,
        mark: Callable[[str], None] = lambda stage: None,
    ) -> None:
        """Begin with an open clutch.

        Args:
            settings: of this operator.
            ik: solver; None: one of the settings.
            mark: told of ``retarget`` and ``ik`` when they are done, for who times them.
        """
        self._settings, self._mark = settings, mark
        self._ik = ik or ArmIK(settings.ik)
        self._clutch = Clutch(settings.clutch)
        self._retargeter = Retargeter(settings.mapping)
        self.calibrator = Calibrator(settings.mapping, settings.hand, clutch=settings.clutch)
        """Leads through the gesture; what was stored is handed to it before the first step."""
        self._asks_calibration = False
        self._buttons = settings.buttons
        self._edges = ButtonEdges()
        self._wishes = EventButtons(settings.buttons.events)
        self._frozen = False
        self._freezes = 0
        self._trouble = ("", "")
        self._scale = settings.mapping.scale
        self._stroke: _Stroke | None = None
        self._time_base = TimeBase(1.0 / settings.rate)
        self._timed = (0, 0)
        self._interval = self._unused = 0.0
        self._arm_well = float("-inf")
        self._last_target = float("-inf")
        self._moves = False
        self._patience = math.inf
        self._home_spent = False
        self._stepped = float("inf")
        self._grip = GripControl(settings.gripper_input)

    @property
    def scale(self) -> float:
        """Tool metres per hand metre from the next engagement on."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        low, high = SCALES
        self._scale = min(max(scale, low), high)

    def ask_calibration(self) -> None:
        """Begin to calibrate at the next step, or end that; may be called from any thread."""
        self._asks_calibration = True

    def step(
        self,
        hand: HandSample | None,
        joy: JoyConState | None,
        measured_q: Array | None,
        now_ns: int,
        estop: str = "",
        gripper_holds: bool = False,
        opening: float | None = None,
        trouble: tuple[str, str] = ("", ""),
        guard: str = "",
        policy_drives: bool = False,
    ) -> OperatorOutput:
        """Advance by one tick.

        Args:
            hand: newest sample of the hand, or None.
            joy: newest state of the Joy-Con, or None.
            measured_q: (n,) fresh measured joints [rad], or None while the arm is silent.
            now_ns: monotonic time, the clock of the sample's stamps [ns].
            estop: why the cell is stopped; empty while it is not.
            gripper_holds: whether the gripper is stopped, faulty or away and follows nobody.
            opening: that the gripper reports, where its stick leads on from it.
            trouble: why the own and the other operator's arm follow nobody; empty: they do.
            guard: what slows the own arm or is near it.
            policy_drives: whether a policy holds the own arm; a press makes it let go.
        """
        now = now_ns * 1e-9
        news = self._edges.step(joy)
        down, held = news.down, news.held
        age = math.inf if joy is None else now - joy.received_ns * 1e-9
        overdue = age > self._patience
        certain = age <= self._settings.buttons_limit and not overdue
        view, self._trouble = _view(hand, now_ns), trouble
        self._keep_time(view)
        gap, self._stepped = now - self._stepped, now
        stalled = gap > self._settings.stall_limit
        barred = news.stop or bool(estop)
        events = self._wishes.step(news.pressed, down is None or stalled, barred, now)
        self._obey_own(events)
        pushed = bool(held & self._buttons.clutch)
        stall = f"this operator's process stood still for {gap * 1e3:.0f} ms" if stalled else ""
        if held & news.let_go & self._buttons.clutch:
            stall = stall or "the button was let go for a moment"
        silent = "the Joy-Con is silent" if down is None else ""
        stopped = f"emergency stop: {estop}" if estop else ""
        calibrates = self.calibrator.is_running
        calibration = self._calibrate(pushed, view, stopped, stall or silent, now)
        calibrates = calibrates or self.calibrator.holds_arm(now)
        self._clutch.step(now, pushed, view, self._obstacle(measured_q, now, policy_drives))
        if why := stopped or self._why_blocked(calibrates) or stall:
            self._clutch.block(why)
        result = self._follow(view, measured_q if certain else None, now)
        barred = barred or stalled or self._frozen or measured_q is None or calibrates
        barred = barred or bool(held & news.let_go & self._buttons.home)
        engaged = self._clutch.state is ClutchState.ENGAGED
        return OperatorOutput(
            joint_target=None if result is None else result.q,
            hold=self._holds(overdue or not engaged),
            gripper=self._grip.step(
                None if down is None else bool(down & self._buttons.gripper),
                0.0 if joy is None else joy.axes[1],
                stalled=stalled,
                is_held=bool(estop) or gripper_holds or self._frozen,
                measured=opening,
                dt=max(gap, 0.0),
                passed=[bool(one & self._buttons.gripper) for one in news.passed],
            ),
            events=tuple(event for event in events if event not in OWN_EVENTS),
            stop=news.stop,
            go_home=self._goes_home(held, down, barred, now) and certain,
            status=self._status(view, joy, measured_q is not None, guard),
            calibration=calibration,
            ik=result,
        )

    def _calibrate(
        self, pushed: bool, view: HandView | None, obstacle: str, hiccup: str, now: float
    ) -> CalibrationNews | None:
        """Lead on with a calibration, or begin one where the arm is not being led."""
        asked, self._asks_calibration = self._asks_calibration, False
        if self._clutch.state in (ClutchState.ENGAGING, ClutchState.ENGAGED):
            obstacle = obstacle or "the clutch is held: release it first"
        return self.calibrator.step(
            now, asked=asked, pressed=pushed, view=view, obstacle=obstacle, hiccup=hiccup
        )

    def _why_blocked(self, calibrates: bool) -> str:
        if calibrates:
            return "calibrating: the arm holds"
        return "frozen by its operator: press that button again" if self._frozen else ""

    def _keep_time(self, view: HandView | None) -> None:
        """Take the time at which a new pose was taken; a new session begins anew."""
        if view is None or (view.session, view.frame) == self._timed:
            return
        if view.session != self._timed[0]:
            self._time_base = TimeBase(1.0 / self._settings.rate)
        self._timed = (view.session, view.frame)
        self._interval = self._time_base.step(view.frame * 1e-9)
        self._unused += self._interval

    def _obey_own(self, events: tuple[Event, ...]) -> None:
        """Carry out the wishes that concern this operator alone."""
        for event in events:
            if event is Event.FREEZE:
                self._frozen = not self._frozen
                self._freezes += self._frozen
            elif event is Event.CALIBRATE:
                self.ask_calibration()
            elif event in (Event.SCALE_UP, Event.SCALE_DOWN):
                self.scale *= SCALE_STEP if event is Event.SCALE_UP else 1.0 / SCALE_STEP

    def _obstacle(self, measured_q: Array | None, now: float, policy_drives: bool) -> str:
        """Why the arm cannot be driven; a stroke outlives its hiccup, an engagement none."""
        if policy_drives:
            return "the policy lets the arm go: press again"
        trouble = self._trouble[0]
        if measured_q is not None and not trouble:
            self._arm_well = now
            return ""
        allowed = 0.0 if self._stroke is None else self._settings.arm_silence_limit
        if now - self._arm_well <= allowed:
            return ""
        return f"arm follows nobody ({trouble})" if trouble else "arm does not report its joints"

    def _follow(
        self, view: HandView | None, measured_q: Array | None, now: float
    ) -> IkResult | None:
        """Solve for a new pose, or None when the arm is not to move.

        No pose is used twice: a hand that is seen no more moves nothing from then on, and the
        arm comes to rest long before the clutch counts it as lost.

        Args:
            view: the hand.
            measured_q: (n,) [rad]; None while the arm is silent or the buttons are uncertain.
            now: monotonic time [s].
        """
        if self._clutch.state is not ClutchState.ENGAGED or view is None:
            self._stroke = None
            return None
        if measured_q is None:
            return None
        settings, stroke = self._settings, self._stroke
        if stroke is None:
            stroke = self._engage(measured_q, view.frame)
            return self._solve(stroke, stroke.accepted, 1.0 / settings.rate, now)
        if view.frame == stroke.frame_ns:
            return None
        dt, self._unused = min(self._unused, settings.longest_step), 0.0
        verdict = stroke.take(view)
        if verdict is Verdict.JUMPED:
            self._clutch.block("hand jumped")
        elif self._lags(stroke, measured_q, now):
            own = self._trouble[0]
            self._clutch.block(f"arm does not follow ({own})" if own else "arm does not follow")
        else:
            if now - self._last_target > settings.command_timeout:
                self._ik.seed(measured_q)
                dt = min(self._interval, dt)  # poses that a silent arm did not follow are past
            return self._solve(stroke, stroke.filter.step(stroke.accepted, dt), dt, now)
        self._stroke = None
        return None

    def _solve(self, stroke: _Stroke, hand: Array, dt: float, now: float) -> IkResult:
        """Bring the tool to where the hand is (4, 4), as far as it comes in `dt` [s]."""
        before = self._ik.q
        target = self._retargeter.tool_pose(hand)
        self._mark("retarget")
        result = stroke.result = self._ik.step(target, dt, stroke.lagging)
        self._mark("ik")
        self._last_target, self._moves = now, True
        self._patience = self._settings.patience(float(np.abs(result.q - before).max()) / dt)
        return result

    def _holds(self, over: bool) -> bool:
        """Whether to tell the arm to brake, once per motion: silence alone would tell it later.

        Args:
            over: whether the clutch let go, or the buttons are too old for the arm's speed.
        """
        tells, self._moves = over and self._moves, self._moves and not over
        if self._stroke is None:
            self._patience = math.inf
        return tells

    def _engage(self, measured_q: Array, frame_ns: int) -> _Stroke:
        """Begin a stroke: tie hand and tool together where both are now."""
        reference, self._unused = self._clutch.reference, 0.0
        self._ik.seed(measured_q)
        self._retargeter = Retargeter(replace(self.calibrator.mapping, scale=self._scale))
        self._retargeter.engage(reference, self._ik.tool_pose(measured_q))
        self._stroke = _Stroke(self._settings, reference, frame_ns)
        return self._stroke

    def _lags(self, stroke: _Stroke, measured_q: Array, now: float) -> bool:
        """Whether the arm stands away from its commands: stopped, blocked or refused.

        One that something slows goes on, and its commands wait for it.
        """
        lag = float(np.abs(self._ik.q - measured_q).max())
        stroke.lagging = measured_q if lag > WAITING * self._settings.lag_limit else None
        if lag <= self._settings.lag_limit:
            stroke.stands_since = None
            return False
        if stroke.stands_since is None or np.abs(measured_q - stroke.stood_at).max() > STIRRED:
            stroke.stands_since, stroke.stood_at = now, measured_q
        return now - stroke.stands_since > self._settings.lag_time

    def _goes_home(
        self, held: frozenset[str], down: frozenset[str] | None, barred: bool, now: float
    ) -> bool:
        """Whether the home button moves the arm; one that was barred must be pressed anew.

        Args:
            held: buttons held on purpose.
            down: buttons held; None while the Joy-Con is silent.
            barred: whether a stop, a stall or a silent arm forbids it; so does the clutch.
            now: monotonic time [s].
        """
        pushed = bool(held & self._buttons.home)
        barred = barred or down is None or bool(down & self._buttons.clutch)
        self._home_spent = pushed and (barred or self._home_spent)
        waited = now - self._last_target >= self._settings.home_delay
        return pushed and not self._home_spent and waited

    def _status(
        self, view: HandView | None, joy: JoyConState | None, arm: bool, guard: str
    ) -> OperatorStatus:
        settings = self._settings
        result = None if self._stroke is None else self._stroke.result
        far = result is not None and (
            result.position_error > settings.reach_error
            or result.rotation_error > settings.reach_angle
        )
        return OperatorStatus(
            clutch=self._clutch.state,
            reason=self._clutch.reason,
            tracked=view is not None
            and view.tracked
            and view.age <= settings.clutch.silence_limit,
            joycon=joy is not None and joy.live,
            arm=arm,
            out_of_reach=far,
            limits=() if result is None else tuple(joint + 1 for joint in result.at_limit),
            beyond=round(result.position_error, 2) if far and result is not None else 0.0,
            arm_trouble=self._trouble[0],
            other_trouble=self._trouble[1],
            frozen=self._frozen,
            presses=self._clutch.presses + self._freezes + self.calibrator.begun,
            scale=round(self._scale, 3),
            link_delay=0.0 if view is None else round(20.0 * view.delay) / 20.0,
            battery=None if joy is None else joy.battery,
            charging=joy is not None and joy.charging,
            calibrating=self.calibrator.is_running,
            calibration_strokes=self.calibrator.strokes,
            calibrations_fitted=self.calibrator.fits,
            calibrations_refused=self.calibrator.refusals,
            calibration=self.calibrator.words,
            calibrated=self.calibrator.calibration,
            guard=guard,
            joycon_trouble=self._grip.trouble,
        )


def _view(hand: HandSample | None, now_ns: int) -> HandView | None:
    if hand is None:
        return None
    return HandView(
        pose=hand.transform_wrist_to_headset,
        frame=hand.changed_ns,
        session=hand.session,
        tracked=hand.tracked,
        age=(now_ns - hand.received_ns) * 1e-9,
        unchanged=(now_ns - hand.changed_ns) * 1e-9,
        delay=hand.delay,
        origin=hand.origin,
        flaw=hand.flaw,
    )
