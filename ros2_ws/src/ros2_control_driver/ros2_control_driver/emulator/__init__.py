"""Controllers of one arm of the simulated cell, in place of ros2_control's own."""
