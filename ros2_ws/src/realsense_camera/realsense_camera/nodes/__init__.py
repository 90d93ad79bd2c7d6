"""ROS nodes of the camera; the only modules of this package that import rclpy."""
