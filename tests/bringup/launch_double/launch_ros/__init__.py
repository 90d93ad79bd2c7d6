"""Test double of ROS's `launch_ros`."""
