"""The ROS node of one operator; the only modules of this package that import rclpy."""
