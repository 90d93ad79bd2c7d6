"""Teleoperation of one arm by one operator: hand pose, clutch, retargeting, joint targets."""
