"""Where a demonstration begins to move."""

import numpy as np

STILL = 0.01
"""Largest change of a command that counts as waiting [rad, ratio]; as in RDT's loader."""


def first_motion(action: np.ndarray) -> int:
    """Row before the first motion of an episode, 0 if nothing moves.

    A person waits before moving; a policy without memory that learns the wait repeats it for
    ever, because nothing it sees changes.
    """
    moved = (np.abs(action - action[0]) > STILL).any(axis=1)
    return max(0, int(np.argmax(moved)) - 1)
