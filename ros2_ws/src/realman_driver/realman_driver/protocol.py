"""Vendor units of the RM75; nothing above this module knows degrees or milliamperes."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from arm_driver.interface import ArmIdentity, ArmSample
from realman_driver.codes import GLIDE, GUIDING, PAUSED, PLANNED, READY, STREAMED, fault_text
from realman_driver.push import Push
from realman_driver.records import Identity

Array = NDArray[np.float64]

RAD_PER_DEGREE = math.pi / 180.0
RAD_PER_ANGLE = RAD_PER_DEGREE / 1000.0
"""Of one unit of an angle on the wire."""
RAD_PER_S_PER_SPEED = 2.0 * math.pi / 60.0 / 100.0
"""Of one unit of a joint speed in a state packet: 0.01 RPM."""
AMPERE_PER_CURRENT = 1e-6
"""Of one unit of a motor current on the wire: 0.001 mA."""
THOUSANDTH = 1e-3

LARGEST_CURRENT = 100.0
"""A motor takes less [A]."""
TEMPERATURES = (-40.0, 150.0)
"""A joint outside has burnt, or its sensor is broken [deg C]."""
VOLTAGES = (5.0, 80.0)
"""The arm runs at 24 V; outside no joint works [V]."""
LARGEST_FORCE = 1000.0
"""The sensor ends at 200 N and breaks at three times that [N]."""
LARGEST_MOMENT = 50.0
"""The sensor ends at 8 N m [N m]."""
FOREIGN_SPEED = 0.05
"""Joint speed that shows a motion [rad/s]."""


def joints_to_degrees(q: Array) -> list[float]:
    """Joint angles (n,) [rad] as degrees that reach the wire as round(1000 q) thousandths.

    The SDK multiplies in 32-bit floats and cuts towards zero (0.29 degrees would leave as 289);
    half a unit away from zero makes the cut exact.
    """
    thousandths = [round(value) for value in (q * (1000.0 / RAD_PER_DEGREE)).tolist()]
    return [(n + 0.5 * ((n > 0) - (n < 0))) / 1000.0 for n in thousandths]


def sample_from_push(
    push: Push,
    *,
    joints: int,
    sequence: int,
    received: float,
    stamp_ns: int,
    gliding: bool = False,
    streaming: bool = True,
    stopped: bool = False,
) -> ArmSample:
    """Convert one state packet; what cannot be true is its ``doubt``.

    What hold for every arm, limits, jumps and frozen values, is looked at by the driver.

    Args:
        push: what the packet says.
        joints: number of the arm's joints.
        sequence: number of the packet.
        received: monotonic receive time [s].
        stamp_ns: wall-clock receive time [ns].
        gliding: whether this driver lets the set point glide.
        streaming: whether this driver sent targets a short while ago.
        stopped: whether somebody else stopped the arm a short while ago.
    """
    velocity = _array(push.speed, joints, RAD_PER_S_PER_SPEED)
    return ArmSample(
        sequence=sequence,
        received=received,
        stamp_ns=stamp_ns,
        position=_array(push.position, joints, RAD_PER_ANGLE),
        velocity=velocity,
        effort=_array(push.current, joints, AMPERE_PER_CURRENT),
        wrench=None if wrench_doubt(push) else np.array(push.zero_force) * THOUSANDTH,
        fault=fault_text(push.errors, push.joint_errors),
        faulty_joints=tuple(n for n, bits in enumerate(push.joint_errors, 1) if bits),
        obstacle=obstacle(
            push, float(np.max(np.abs(velocity))), gliding, streaming, stopped=stopped
        ),
        doubt="; ".join(_doubts(push)),
        mode=push.mode,
        temperature=_told(push.temperature),
        voltage=_told(push.voltage),
        enabled=push.enabled,
    )


def obstacle(
    push: Push, speed: float, gliding: bool, streaming: bool, *, stopped: bool = False
) -> str:
    """Why the arm follows no targets although it reports no error; empty when it is ready.

    Args:
        push: what the packet says.
        speed: largest joint speed [rad/s].
        gliding: whether this driver lets the set point glide.
        streaming: whether this driver sent targets a short while ago.
        stopped: whether somebody else stopped the arm a short while ago.
    """
    if stopped:
        return f"a stop from the pendant or another program ({push.mode})"
    if push.mode in GUIDING:
        return f"{GUIDING[push.mode]} ({push.mode})"
    if push.mode == PAUSED:
        return "a pause set at the pendant: end it there"
    if push.mode in PLANNED and not (push.mode == GLIDE and gliding):
        return f"a motion from the pendant or another program ({push.mode})"
    if push.mode == STREAMED and not streaming and speed > FOREIGN_SPEED:
        return f"targets of another program ({push.mode})"
    if push.mode and push.mode not in (*READY, *PLANNED):
        return f"the mode {push.mode[:40]!r}, which this driver does not know"
    disabled = [str(number) for number, on in enumerate(push.enabled, 1) if not on]
    if disabled:
        return f"joint {', '.join(disabled)} disabled: call arm/clear_errors to enable"
    return ""


def wrench_doubt(push: Push) -> str:
    """Why the wrench is not to be believed; the joints may be. Empty when it is."""
    if len(push.zero_force) != 6:
        return "the force sensor is silent"
    for index, value in enumerate(push.zero_force):
        bound = LARGEST_FORCE if index < 3 else LARGEST_MOMENT
        if not abs(value) * THOUSANDTH <= bound:
            unit = "N" if index < 3 else "N m"
            told = f"zero_force[{index}] is {value * THOUSANDTH:g} {unit}"
            return f"{told}, possible is up to {bound:g}"
    return ""


def _doubts(push: Push) -> Iterator[str]:
    """What of the packet cannot be true: field, value and bound."""
    yield from push.problems
    for field, values, scale, low, high, unit in (
        (
            "joint_current",
            push.current,
            AMPERE_PER_CURRENT,
            -LARGEST_CURRENT,
            LARGEST_CURRENT,
            "A",
        ),
        ("joint_temperature", push.temperature, THOUSANDTH, *TEMPERATURES, "deg C"),
        ("joint_voltage", push.voltage, THOUSANDTH, *VOLTAGES, "V"),
    ):
        if field == "joint_voltage" and not any(values):
            continue  # not told
        for joint, value in enumerate(values, 1):
            if not low <= value * scale <= high:
                yield (
                    f"{field} of joint {joint} is {value * scale:g} {unit}, possible are "
                    f"{low:g} to {high:g}"
                )
                break


def _array(values: Sequence[float], joints: int, scale: float) -> Array:
    """Values (n,) in SI units; not numbers where the packet has none, which ``doubt`` tells."""
    return np.array(values) * scale if values else np.full(joints, np.nan)


def _told(values: Sequence[float]) -> Array | None:
    """Values (n,) [deg C, V]; None where the device tells none: no field, or only zeros."""
    return np.array(values) * THOUSANDTH if any(values) else None


def identity_from_record(record: Identity, name: str, misfit: str) -> ArmIdentity:
    """What the controller said of itself, in SI units.

    Args:
        record: as the link process read it.
        name: address of the controller.
        misfit: why it is not the cell's arm.
    """
    return ArmIdentity(
        name=name,
        joints=record.joints,
        lower=np.radians(record.lower[: record.joints]),
        upper=np.radians(record.upper[: record.joints]),
        model=record.product,
        firmware=record.firmware,
        misfit=misfit,
    )
