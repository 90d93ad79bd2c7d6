"""What a back end must offer, so that `ArmDriver` can drive its arm.

A back end is a link to one arm: it connects, says which arm it found, gives the newest state with
the device's time, sends one joint target, brings the arm to rest and clears its errors. It keeps
no limits and no commanders: all that is sent has passed the safety filter before.
"""

from collections.abc import Mapping
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
    obstacle: str = ""
    """Why the arm follows no targets although it reports no error: hand guiding, a disabled joint,
    a closed brake, motion from its pendant; empty when it is ready."""
    doubt: str = ""
    """Which fields are implausible or frozen, with value and bound. Such a state is never
    published as measured and never used; empty when all is well."""
    mode: str = ""
    """What the device says it is doing, in its own word."""
    temperature: Array | None = None
    """Temperatures of the joints (n,) [deg C]; None where the device tells none."""
    voltage: Array | None = None
    """Supply of the joints (n,) [V]; None where the device tells none."""
    enabled: tuple[bool, ...] = ()
    """Whether each joint is enabled; empty where the device does not tell."""


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
    model: str = ""
    """Product and variant, for instance ``RM75-6F``; empty when it is not told."""
    firmware: str = ""
    """Version of its software; empty when it is not told."""
    misfit: str = ""
    """Why the back end holds this device for another one than the cell describes, beyond joints
    and limits: model, firmware, geometry, tool; empty when it fits."""


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

    def stop(self, *, fast: bool = False) -> bool:
        """Bring the arm to rest and hold it; False when the device did not confirm.

        Never waits for another call: it is answered while `clear_errors` waits for a slow device.

        Args:
            fast: as fast as the joints can, for an emergency; else within the device's limits.
        """
        ...

    def settle(self, q: Array) -> bool:
        """Let the device's own set point glide to the measured joints before targets are sent.

        After a stop of the device's own its set point is not known here: an arm that pressed
        against something would jump to the first target.

        Args:
            q: measured joints (n,) [rad].

        Returns:
            True when the set point is there; call it again while it is not.
        """
        ...

    def health(self) -> Mapping[str, str]:
        """Rates, ages, drops and restarts of the link, name -> value, for diagnostics."""
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
    if identity.misfit:
        return f"{identity.name}: {identity.misfit}"
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
