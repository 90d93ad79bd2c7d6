"""The drivers alone: `ros2 launch launch/robot.launch.py hardware:=real|sim`."""

from ate_bringup.launch_ros_adapter import make_launch_description


def generate_launch_description():
    """Describe the drivers of arms, grippers and cameras."""
    return make_launch_description("robot")
