"""Collects data, as `ros2 launch ate_teleop dual_operator.launch.py` does."""

from ate_bringup.launch_ros_adapter import make_launch_description


def generate_launch_description():
    """Describe the nodes of both operators, both arms, the cameras and the recorder."""
    return make_launch_description("dual_operator")
