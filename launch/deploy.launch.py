"""Runs a policy on the cell, as `ros2 launch ate_policy deploy.launch.py` does."""

from ate_bringup.launch_ros_adapter import make_launch_description


def generate_launch_description():
    """Describe the nodes of a deployment."""
    return make_launch_description("deploy")
