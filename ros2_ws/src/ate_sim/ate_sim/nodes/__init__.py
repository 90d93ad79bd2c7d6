"""ROS nodes of the simulated cell."""
