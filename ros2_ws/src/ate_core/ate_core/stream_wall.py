"""How far a joint's target may go in one step of a stream.

The safety filter, the check of a cell's speed and the wall just before the wire derive from these
numbers, so that a tick that comes late never makes a step that the wall refuses. The standard
library only: the link process of an arm imports it.
"""

import math

LARGEST_STEP_DEG = 5.0
"""Joint step after which a target is not sent [deg]: half of what the controller answers to."""
LONGEST_ADVANCE = 0.030
"""A step that is later than this takes the arm no further than one of this length [s]: three
periods of the stream."""
FASTEST_JOINT = math.radians(LARGEST_STEP_DEG) / LONGEST_ADVANCE
"""Largest joint speed with which the longest step stays within the wall [rad/s]."""
