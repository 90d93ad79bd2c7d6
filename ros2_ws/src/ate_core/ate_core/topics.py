"""Names of topics and services. Arm names are relative to the arm's namespace."""

from dataclasses import dataclass

ESTOP_STATE = "/estop"
"""Emergency stop of the cell: JSON with stopped, reason, instance (of the e-stop node) and resets
(counted by it)."""
ESTOP_REQUEST = "/estop/request"
"""Reason of a stop, as text; whatever arrives here stops, an empty text too."""
CELL_HEALTH = "/diagnostics_toplevel_state"
"""The cell as a whole (diagnostic_msgs/msg/DiagnosticStatus), as diagnostic_aggregator has it."""
POLICY_STATUS = "/policy/status"
"""What the policy does (JSON): running, taken over by an operator, and why."""
ESTOP_SET, ESTOP_RESET = "/estop/set", "/estop/reset"
"""Services of the e-stop node."""
FIXED = (
    ESTOP_STATE, ESTOP_REQUEST, ESTOP_SET, ESTOP_RESET, CELL_HEALTH, POLICY_STATUS,
    "/diagnostics", "/rosout", "/parameter_events", "/tf", "/tf_static", "/clock",
)  # fmt: skip
"""Names that are the same in every cell."""


@dataclass(frozen=True, kw_only=True)
class Topics:
    """Topic and service names of the cell; docs/topics.md lists type, rate and meaning."""

    joint_states: str = "arm/joint_states"
    """Measured joints of one arm."""
    joint_command: str = "arm/joint_command"
    """Joint targets for one arm; the frame_id of the header names the commander."""
    set_point: str = "arm/set_point"
    """Where one arm was sent last, while anybody drives it."""
    joint_trajectory: str = "arm/joint_trajectory"
    """Trajectories of standard tools for one arm."""
    hold: str = "arm/hold"
    """A commander that falls silent says so: the arm brakes at once; frame_id as in commands."""
    home_hold: str = "arm/home_hold"
    """One message while the home button is held, every 50 ms."""
    wrench: str = "arm/wrench"
    """Zeroed wrench at the tool flange."""
    tcp_pose: str = "arm/tcp_pose"
    """Pose of the grasp point in the world frame."""
    arm_status: str = "arm/status"
    """State of the driver with its reason (JSON)."""
    gripper_states: str = "gripper/joint_states"
    """Measured opening of one gripper."""
    gripper_command: str = "gripper/command"
    """Opening wanted of one gripper; the frame_id of the header names the commander."""
    gripper_status: str = "gripper/status"
    """State of the gripper with its reason, and the object it holds (JSON)."""
    wrist_pose: str = "operator/wrist_pose"
    """Pose of the operator's wrist in the headset's frame."""
    joy: str = "operator/joy"
    """Buttons and sticks of the operator's Joy-Con."""
    operator_status: str = "operator/status"
    """Clutch, tracking and reach of one operator (JSON)."""
    calibrate: str = "operator/calibrate"
    """Service: begin to calibrate one operator by a gesture."""
    cameras: str = "/cameras"
    """Prefix of all camera topics."""
    episode: str = "/episode"
    """Prefix of the recorder's services and of its status."""
    scene_objects: str = "/scene/objects"
    """Object poses (simulated cell, or a tracker)."""
    scene_info: str = "/scene/info"
    """Task and object names behind the poses (JSON)."""

    def of_arm(self, namespace: str, name: str) -> str:
        """Absolute name of an arm's relative topic."""
        return f"{namespace.rstrip('/')}/{name}"

    def camera_image(self, role: str) -> str:
        """JPEG images of one camera."""
        return f"{self.cameras}/{role}/image_raw/compressed"

    def camera_info(self, role: str) -> str:
        """Intrinsics of one camera, stamped as its images."""
        return f"{self.cameras}/{role}/camera_info"
