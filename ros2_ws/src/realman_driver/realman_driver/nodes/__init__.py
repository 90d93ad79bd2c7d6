"""ROS nodes of the arm driver."""
