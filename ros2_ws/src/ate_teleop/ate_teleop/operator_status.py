"""What one tick of an operator asks for, and what it tells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_teleop.buttons import Event
from ate_teleop.calibration import HandCalibration
from ate_teleop.calibrator import CalibrationNews
from ate_teleop.clutch import ClutchState
from ate_teleop.ik import IkResult

Array = NDArray[np.float64]

LOW_BATTERY = 0.25
"""Charge of a Joy-Con at which its person is told; a quarter is the last step before empty."""


@dataclass(frozen=True, kw_only=True)
class OperatorStatus:
    """What the operator and the diagnostics should know; changes seldom."""

    clutch: ClutchState
    """Where the clutch stands."""
    reason: str
    """Why it is not engaged although it is asked for."""
    tracked: bool
    """Whether the hand is seen."""
    joycon: bool
    """Whether the Joy-Con reports."""
    arm: bool
    """Whether the arm reports its joints."""
    out_of_reach: bool
    """Whether the target is where the arm cannot be."""
    limits: tuple[int, ...]
    """Joints (from 1) held by a position limit."""
    beyond: float = 0.0
    """How far the target is beyond the arm's reach, in steps of 10 mm; 0 within it [m]."""
    arm_trouble: str = ""
    """Why the own arm follows nobody."""
    other_trouble: str = ""
    """Why the arm of the other operator follows nobody."""
    frozen: bool = False
    """Whether the operator has frozen arm and gripper."""
    presses: int = 0
    """How often the operator took the arm so far: by clutch, freeze or calibration."""
    scale: float = 1.0
    """Tool metres per hand metre from the next engagement on."""
    link_delay: float = 0.0
    """How much later than at first the headset's poses arrive, in steps of 50 ms [s]."""
    battery: float | None = None
    """Charge of the Joy-Con, 0 empty .. 1 full, in steps of a quarter; None before it was told."""
    charging: bool = False
    """Whether it is being charged."""
    other_operator: str = ""
    """Where the other operator's clutch stands, and why; empty: nobody was heard."""
    force_silent: bool = False
    """Whether a force that is to be felt is not told by the arm."""
    prompt: str = ""
    """What the operator is to do next."""
    calibrating: bool = False
    """Whether a person is being led through the gesture."""
    calibration: str = ""
    """What a person who is being calibrated does next; otherwise what was fitted and holds."""
    calibrated: HandCalibration | None = None
    """What was fitted and holds; None: the cell's own values."""
    calibration_strokes: int = 0
    """Good strokes of calibrations so far."""
    calibrations_fitted: int = 0
    """Calibrations that were fitted so far."""
    calibrations_refused: int = 0
    """Calibrations that were refused so far."""
    guard: str = ""
    """What slows the arm or is near it: workspace, tool speed, distances; empty when nothing."""
    joycon_trouble: str = ""
    """What is wrong with the Joy-Con although it reports; empty: nothing."""
    headset_trouble: str = ""
    """Why no hand can be seen, whoever raises it, and a remedy; empty while poses arrive."""

    @property
    def battery_low(self) -> bool:
        """Whether the Joy-Con should be charged."""
        return self.battery is not None and self.battery <= LOW_BATTERY and not self.charging


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatorOutput:
    """What one tick asks for."""

    joint_target: Array | None
    """(n,) [rad]; None: send nothing, the arm holds."""
    hold: bool
    """Whether the arm is to brake at once: what moved it ended, or may have."""
    gripper: float | None
    """Opening ratio; None: send nothing, the gripper holds."""
    events: tuple[Event, ...]
    """Wishes that came up in this tick."""
    stop: bool
    """Whether the operator asks for the emergency stop of the cell now."""
    go_home: bool
    """Whether the arm is to go home now; it stops when this ends."""
    status: OperatorStatus
    """State after this tick."""
    calibration: CalibrationNews | None
    """What has happened to the calibration in this tick."""
    ik: IkResult | None
    """The solver's report while engaged."""
