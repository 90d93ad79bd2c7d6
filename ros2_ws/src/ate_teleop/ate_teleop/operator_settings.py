"""What the controller of one operator is built from, and how a cell gives it."""

from dataclasses import dataclass, field, replace

from ate_core.contract import Cell
from ate_core.hand_mapping import HandMapping, operator_mapping
from ate_core.motion_profile import braking_time
from ate_core.operator_buttons import GripperInput
from ate_core.safety import LEASE_SILENCE
from ate_teleop.buttons import ButtonMap, button_map
from ate_teleop.clutch import ClutchConfig
from ate_teleop.filters import GateConfig, OneEuroConfig
from ate_teleop.ik import IkConfig, arm_ik_config

# At 90 Hz, with 0.7 mm and 0.34 degrees of noise per frame: 0.2 mm of jitter at rest, and 16 ms
# behind a hand at 0.38 m/s. A tremble of the rotation shakes the joints most, as the wrist of the
# arm is 0.3 m from the tool; hence the lower cutoff.
POSITION_FILTER = OneEuroConfig(min_cutoff=1.5, beta=40.0, speed_cutoff=1.0)
ROTATION_FILTER = OneEuroConfig(min_cutoff=1.0, beta=5.0, speed_cutoff=1.0)

REST_TIME = 0.2
"""Time from the last word of a Joy-Con after which the arm is at rest [s]."""
LATENESS = 0.023
"""Of it for what is no braking: ticks of operator and driver, and the way between them [s]."""
SHORTEST_LIMIT = 0.025
"""Age of the buttons that slows no arm [s]; they come every 15 ms."""


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """Everything the controller of one operator is built from."""

    mapping: HandMapping
    """Constants of the retargeting."""
    ik: IkConfig
    """Limits and weights of the inverse kinematics."""
    rate: float
    """Ticks per second [Hz]."""
    buttons: ButtonMap
    """What the buttons mean."""
    hand: str = "right"
    """The hand that is followed."""
    gripper_input: GripperInput = "trigger"
    """How the gripper is worked."""
    clutch: ClutchConfig = field(default_factory=ClutchConfig)
    """When the clutch may engage."""
    gate: GateConfig = field(default_factory=GateConfig)
    """Which hand poses are glitches."""
    position_filter: OneEuroConfig = POSITION_FILTER
    """Smoothing of the hand's position; per m/s."""
    rotation_filter: OneEuroConfig = ROTATION_FILTER
    """Smoothing of the hand's rotation; per rad/s."""
    reach_error: float = 0.02
    """Distance between target and arm above which the operator is told "out of reach" [m]."""
    reach_angle: float = 0.2
    """The same for the rotation [rad]."""
    arm_silence_limit: float = 0.2
    """Time for which the arm may say that it follows nobody, or not report its joints, before the
    clutch lets go; without joints it is sent nothing, and goes on gently when they return [s]."""
    home_delay: float
    """Silence after the last joint target before the arm is asked to go home: until the lease has
    ended, its driver counts this operator as its commander [s]."""
    buttons_limit: float = 0.04
    """Age of the buttons above which the arm is sent nothing, and so comes to rest long before
    they count as released; they come every 15 ms [s]. A faster arm than brakes in time is told
    earlier to hold."""
    acceleration: float
    """Largest joint acceleration, with which the arm brakes [rad/s2]."""
    jerk: float
    """Largest joint jerk [rad/s3]."""
    longest_step: float = 0.05
    """Time between two poses up to which the arm may go as far as its speed allows [s]."""
    command_timeout: float
    """Silence after which the arm's driver brakes; a stroke then goes on from where the arm was
    measured [s]."""
    stall_limit: float = 0.12
    """Time between two ticks above which a stroke is over, and a home button must be pressed
    anew: hand and buttons went on unseen [s]."""
    lag_limit: float = 0.3
    """Distance between commanded and measured joints above which the arm does not follow [rad]."""
    lag_time: float = 0.3
    """Time it may last before the clutch lets go [s]."""

    def patience(self, speed: float) -> float:
        """Age of the buttons at which an arm must brake to be at rest in time [s].

        Args:
            speed: of its fastest joint [rad/s].
        """
        braking = braking_time(speed, self.acceleration, self.jerk)
        return max(REST_TIME - LATENESS - braking, SHORTEST_LIMIT)


def operator_settings(cell: Cell, side: str) -> OperatorSettings:
    """Settings of the operator who drives the arm `side` of a cell."""
    operator = cell.operators[side]
    arm = cell.arms[operator.arm]
    return OperatorSettings(
        mapping=operator_mapping(operator, arm),
        ik=replace(arm_ik_config(arm, cell.safety), paced=True),
        rate=cell.rates.teleop,
        buttons=button_map(operator.joycon_side, operator.buttons),
        hand=operator.hand,
        gripper_input=operator.gripper_input,
        home_delay=LEASE_SILENCE + 0.05,
        command_timeout=cell.safety.command_timeout,
        acceleration=cell.safety.max_joint_acceleration,
        jerk=cell.safety.max_joint_jerk,
    )
