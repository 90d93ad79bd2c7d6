"""ROS node of the recorder."""
