"""What the nodes of all packages share; the only modules of this package that import rclpy."""
