"""ROS nodes of the driver and of its emulated controllers."""
