"""Driver of any arm behind a forward position controller of ros2_control."""
