"""Driver of one RealMan RM75 arm: protocol units, client, emulated controller and ROS node."""
