"""A policy on another machine: one room for both ends of the link. Needs no ROS."""
