"""The ROS node of every arm driver."""
