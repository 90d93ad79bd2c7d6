"""ROS nodes of the bring-up."""
