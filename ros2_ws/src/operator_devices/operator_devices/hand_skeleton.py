"""Joint lists for the emulated headset: an open hand whose fingers wave a little.

The stack does not read joints; they are here so that messages have the app's size and shape, and
so that a client that does read them finds plausible ones.
"""

import numpy as np

from operator_devices import headset_protocol as protocol
from operator_devices.hand_pose import Matrix

_FRAMES = 16
"""Different joint lists that are sent in turn."""
_FINGER_STARTS = {1: 4, 5: 5, 10: 5, 15: 5, 20: 5}
"""Index of each finger's first joint, thumb to little finger, and the number of its joints."""
_SPREAD = np.radians([50.0, 15.0, 0.0, -10.0, -20.0])
"""Angle of each finger from the hand's axis [rad]."""


def skeleton_frames(joints: int, *, with_tails: bool = False) -> list[bytes]:
    """Serialised partial messages holding only both hands' joint lists.

    Args:
        joints: 25, or 27 with the two forearm joints.
        with_tails: Whether the right list goes on with a marker and a stylus.
    """
    frames = []
    for index in range(_FRAMES):
        update = protocol.HandUpdate()
        curl = 0.1 + 0.05 * np.sin(2.0 * np.pi * index / _FRAMES)
        for hand, mirror in ((update.left_hand, 1.0), (update.right_hand, -1.0)):
            for transform in _joint_transforms(curl, mirror)[:joints]:
                protocol.write_matrix(hand.skeleton.jointMatrices.add(), transform)
        if with_tails:
            _append_tails(update.right_hand.skeleton.jointMatrices)
        frames.append(bytes(update.SerializeToString()))
    return frames


def _joint_transforms(curl: float, mirror: float) -> list[Matrix]:
    """27 joint frames relative to the wrist: x along the hand (mirrored on the right)."""
    transforms = [np.eye(4) for _ in range(27)]
    for (start, count), spread in zip(_FINGER_STARTS.items(), _SPREAD, strict=True):
        for step in range(count):
            bend = curl * step
            transform = np.eye(4)
            transform[:3, :3] = _rotation_z(mirror * spread) @ _rotation_y(bend)
            reach = 0.03 * (step + 1)
            transform[:3, 3] = transform[:3, :3] @ np.array([mirror * reach, 0.0, 0.0])
            transforms[start + step] = transform
    transforms[25][0, 3] = -0.01 * mirror
    transforms[26][0, 3] = -0.24 * mirror
    return transforms


def _append_tails(matrices: object) -> None:
    """One ArUco marker (dictionary 0, id 7) and one stylus, each behind its heading entry."""
    for heading, flags in ((protocol.MARKER_TAIL, 1007.0), (protocol.STYLUS_TAIL, 1.0)):
        entry = matrices.add()  # type: ignore[attr-defined]
        entry.m00, entry.m01 = heading, 1.0
        pose = np.eye(4)
        pose[:3, 3] = (0.1, 0.9, -0.5)
        pose[3, 3] = flags
        protocol.write_matrix(matrices.add(), pose)  # type: ignore[attr-defined]


def _rotation_y(angle: float) -> Matrix:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _rotation_z(angle: float) -> Matrix:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
