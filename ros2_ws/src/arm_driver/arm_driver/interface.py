"""What a back end must offer, so that `ArmDriver` can drive its arm.

A back end is a link to one arm: it connects, says which arm it found, gives the newest state with
the device's time, sends one joint target, brings the arm to rest and clears its errors. It keeps
no limits and no commanders: all that is sent has passed the safety filter before.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.devices import ArmConfig

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmSample:
    """One state of the arm in SI units."""

    sequence: int
    """Counts the states of one link; the same number is the same state."""
    received: float
    """When it arrived, monotonic clock [s]."""
    stamp_ns: int
    """Device time where it is of this host's clock, else when it arrived; wall clock [ns]."""
    position: Array
    """Joint angles (n,) [rad]."""
    velocity: Array
    """Joint speeds (n,) [rad/s]."""
    effort: Array
    """Motor currents [A] or torques [N m] (n,), as the device gives them."""
    wrench: Array | None
    """Zeroed force and moment (6,) [N, N m], tool frame; zeros of an arm without a sensor, None
    while the sensor is silent."""
    fault: str = ""
    """The errors that the device reports; empty when there is none."""
    faulty_joints: tuple[int, ...] = ()
    """Joints, from 1, that report an error of their own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmIdentity:
    """What a device says of itself; None where it does not."""

    name: str
    """Address or topic, for diagnostics."""
    joints: int | None = None
    """Number of joints."""
    lower: Array | None = None
    """Its own lower limits (n,) [rad]."""
    upper: Array | None = None
    """Its own upper limits (n,) [rad]."""


class ArmBackend(Protocol):
    """A link to one arm that outlives the arm. Called from the streaming thread and from ROS's."""

    @property
    def session(self) -> int:
        """Counts links; a change means that the arm may have moved or restarted meanwhile."""
        ...

    @property
    def link_error(self) -> str:
        """Why there is no link; empty while there is one."""
        ...

    def start(self) -> None:
        """Connect in the background and stay connected; never blocks."""
        ...

    def close(self) -> None:
        """Bring the arm to rest if it is linked, and disconnect."""
        ...

    def identity(self) -> ArmIdentity:
        """Which arm this is, as far as known."""
        ...

    def latest(self) -> ArmSample | None:
        """Newest state of this link; None before the first."""
        ...

    def stream(self, q: Array) -> bool:
        """Send one target (n,) [rad]; False when it did not leave."""
        ...

    def stop(self) -> bool:
        """Bring the arm to rest and hold it; False when the device did not confirm."""
        ...

    def clear_errors(self) -> None:
        """Clear the device's errors and make it ready for targets again.

        Raises:
            DeviceError: no link, or the device refused.
        """
        ...


def misfit(identity: ArmIdentity, arm: ArmConfig, margin: float) -> str:
    """Why a device is not the arm that the cell describes; empty when it fits.

    Args:
        identity: what the device says of itself.
        arm: what the cell says.
        margin: distance that commands keep from the cell's limits [rad].
    """
    joints = len(arm.joint_names)
    if identity.joints is not None and identity.joints != joints:
        return (
            f"{identity.name} has {identity.joints} joints, model {arm.model} has {joints}: "
            "check the address and the model in the cell file"
        )
    commanded_lower, commanded_upper = arm.bounds(margin)
    for index, name in enumerate(arm.joint_names):
        for own, commanded, sign in (
            (identity.lower, commanded_lower, 1.0),
            (identity.upper, commanded_upper, -1.0),
        ):
            if own is not None and sign * (own[index] - commanded[index]) > 0.0:
                return (
                    f"{identity.name} ends {name} at {own[index]:.3f} rad, the model {arm.model} "
                    f"allows {commanded[index]:.3f} rad: correct one of the two"
                )
    return ""
