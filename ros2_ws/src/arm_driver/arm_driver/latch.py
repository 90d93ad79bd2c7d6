"""Causes that may stop an arm, for its `ate_core.stop_latch.StopLatch`."""

ESTOP = "estop"
"""The emergency stop of the cell; ends with its reset."""
FAULT = "fault"
"""The device reports an error, or is not the arm of the cell; ends when clearing succeeded."""
OBSTACLE = "obstacle"
"""The arm followed somebody else, for instance its hand guiding; ends with ``arm/enable``."""
CLEARED = "cleared"
"""A fault was cleared; ends with ``arm/enable``."""
SERVICE = "service"
"""Somebody called the service ``arm/stop``; ends with ``arm/enable``."""
INACTIVE = "inactive"
"""The driver is not activated."""

ENDED_BY_ENABLE = (SERVICE, CLEARED, OBSTACLE)
"""What ``arm/enable`` ends."""
