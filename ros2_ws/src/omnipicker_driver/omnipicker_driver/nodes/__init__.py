"""ROS nodes of the gripper; the only modules of this package that import rclpy."""
