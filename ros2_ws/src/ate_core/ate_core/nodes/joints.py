"""The numbers of a JointState, found by the names of their joints, and whether they are of now."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState

from ate_core.streams import header_stamp_ns

Array = NDArray[np.float64]

OLDEST = 1.0
"""Distance of a stamp from the present above which a measurement is of another time [s]."""


def joint_positions(message: JointState, names: Sequence[str]) -> Array:
    """Positions (n,) of `names` in their order.

    Raises:
        ValueError: one is missing or not finite; `listen` and `PolledTopic` tell it.
    """
    positions = _ordered(message.name, message.position, names)
    if positions is None:
        raise ValueError(
            f"no finite position for each of {', '.join(names)}: joints "
            f"{', '.join(message.name)} at {list(message.position)}"
        )
    return positions


def joint_velocities(message: JointState, names: Sequence[str]) -> Array | None:
    """Velocities (n,) of `names` in their order, or None where one is missing or not finite."""
    return _ordered(message.name, message.velocity, names)


def _ordered(told: Sequence[str], values: Sequence[float], names: Sequence[str]) -> Array | None:
    if tuple(told) != tuple(names):
        by_name = dict(zip(told, values, strict=False))
        if any(name not in by_name for name in names):
            return None
        values = [by_name[name] for name in names]
    ordered = np.array(values, dtype=np.float64)
    whole = ordered.shape == (len(names),) and bool(np.isfinite(ordered).all())
    return ordered if whole else None


def require_recent(node: Node, message: Any) -> None:
    """Refuse a measurement of another time, as of a recording that is played beside a driver.

    Args:
        node: who hears it; its clock.
        message: as measured, with a header.

    Raises:
        ValueError: with the age and the bound.
    """
    require_near(header_stamp_ns(message), node.get_clock().now().nanoseconds)


def require_near(stamp_ns: int, now_ns: int) -> None:
    """Refuse a measurement stamped away from the present, both on one clock [ns].

    Raises:
        ValueError: with the age and the bound.
    """
    age = (now_ns - stamp_ns) / 1e9
    if abs(age) > OLDEST:
        raise ValueError(
            f"values are stamped {age:.1f} s ago, bound {OLDEST:g} s: is a recording played, or "
            "another clock used?"
        )
