"""Shows a running cell: `ros2 launch launch/view.launch.py hardware:=real|sim`."""

from ate_bringup.launch_ros_adapter import make_launch_description


def generate_launch_description():
    """Describe the viewers."""
    return make_launch_description("view")
