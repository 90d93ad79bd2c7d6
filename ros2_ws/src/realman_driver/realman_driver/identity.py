"""Whether a controller is the one that the cell describes; without numpy, for the link process."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from realman_driver.records import Identity

GENERATION = 3
"""Of the controller, that the pass-through and the state push were tried with."""
OLDEST_FIRMWARE = (1, 6, 3)
"""Since then the controller plans and streams as the driver expects (protocol 3.7.3)."""
LENGTH_TOLERANCE = 5e-4
"""Of a length in the table of the kinematics [m]."""
ANGLE_TOLERANCE = 0.1
"""Of an offset in it, and of the install pose of an upright arm [deg]."""
SPEED_SHARE = 0.99
"""Share of the model's joint speeds that the controller must allow."""
TILT_TOLERANCE = 2.5
"""Up to which a calibrated base counts as upright, and of the tilt of one that is not [deg]: the
controller knows whole degrees."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What controllers of one model say."""

    model: str
    """Model as the SDK reads it."""
    force_type: str
    """Variant as the SDK reads it."""
    d: tuple[float, ...]
    """Lengths along the joint axes [m], the last to the flange."""


class Expected(Protocol):
    """What the cell says of an arm, for instance an `ArmConfig`."""

    @property
    def model(self) -> str:
        """Name or file of its model."""

    @property
    def joint_names(self) -> Sequence[str]:
        """Its joints (n)."""

    @property
    def joint_speed(self) -> Sequence[float]:
        """Largest speeds of the model's joints (n,) [rad/s]."""

    @property
    def base_pose(self) -> Sequence[float]:
        """Its base in the world: x, y, z [m], qx, qy, qz, qw."""


MODELS = {
    # RM75 parameter page; d7 by variant: B 0.144, ZF 0.153, 6F 0.1725, 6FB 0.1612.
    "rm75_6f": Model(
        model="RM_75", force_type="6F", d=(0.2405, 0.0, 0.256, 0.0, 0.210, 0.0, 0.1725)
    ),
}
"""By name of the arm model in the cell file; of others only joints and limits are compared."""


def misfit_of(told: Identity, arm: Expected) -> str:
    """Why a controller is not the cell's arm; empty when it is.

    Args:
        told: what the controller said of itself.
        arm: what the cell says.
    """
    return "; ".join(_misfits(told, arm))


def _misfits(told: Identity, arm: Expected) -> Iterator[str]:
    if told.generation != GENERATION:
        yield (
            f"it is of generation {told.generation}, need {GENERATION}: the driver was not "
            "tried with it"
        )
    version = _version(told.firmware)
    if version is not None and version < OLDEST_FIRMWARE:
        yield (
            f"it has firmware {told.firmware}, need at least "
            f"V{'.'.join(map(str, OLDEST_FIRMWARE))}: update it"
        )
    yield from _kinematics(told, arm)
    yield from _speeds(told, arm)
    yield from _frames(told, arm)


def _kinematics(told: Identity, arm: Expected) -> Iterator[str]:
    name = Path(arm.model).stem
    expected = MODELS.get(name)
    if expected is None:
        return
    remedy = "check the ip, and the model in the cell file"
    if (told.model, told.force_type) != (expected.model, expected.force_type):
        yield (
            f"it is a {told.product} ({told.model}, {told.force_type}), the cell's model "
            f"{name} is {expected.model}, {expected.force_type}: {remedy}"
        )
    for joint, length in enumerate(expected.d):
        _, a, d, offset = told.dh[4 * joint : 4 * joint + 4]
        for field, value, wanted, tolerance in (
            (f"d{joint + 1} [m]", d, length, LENGTH_TOLERANCE),
            (f"a{joint + 1} [m]", a, 0.0, LENGTH_TOLERANCE),
            (f"offset{joint + 1} [deg]", offset, 0.0, ANGLE_TOLERANCE),
        ):
            if not abs(value - wanted) <= tolerance:
                yield (
                    f"it has {field} {value:g}, the model {name} {wanted:g} (bound "
                    f"{tolerance:g}): {remedy}"
                )


def _speeds(told: Identity, arm: Expected) -> Iterator[str]:
    for name, degrees, wanted in zip(arm.joint_names, told.speed, arm.joint_speed, strict=False):
        own = math.radians(degrees)
        if not own >= SPEED_SHARE * wanted:
            yield (
                f"it lets {name} move at {own:.2f} rad/s, the model {arm.model} at "
                f"{wanted:.2f} rad/s: raise it on the pendant, or lower the model's"
            )
            return


def _frames(told: Identity, arm: Expected) -> Iterator[str]:
    if not max(map(abs, told.work_pose)) <= 1e-3:
        yield (
            f"it works in the frame {told.work_frame!r} at {list(told.work_pose)}, need one "
            "at the base: choose World on the pendant"
        )
    own, wanted = _tilt_of_install(told.install), _tilt_of_pose(arm.base_pose)
    bound = ANGLE_TOLERANCE if wanted <= TILT_TOLERANCE else TILT_TOLERANCE
    apart = own if wanted <= TILT_TOLERANCE else abs(own - wanted)
    if not apart <= bound:
        yield (
            f"it is installed at {list(told.install)} deg, {own:.1f} from upright, the cell's "
            f"base_pose is {'upright' if wanted <= TILT_TOLERANCE else f'tilted by {wanted:.1f}'} "
            f"(bound {bound:g}): correct one of the two, as gravity is compensated by it"
        )


def _tilt_of_install(install: Sequence[float]) -> float:
    """Angle from upright of an install pose [deg]."""
    x, y = (math.radians(angle) for angle in install[:2])
    return math.degrees(math.acos(math.cos(x) * math.cos(y)))


def _tilt_of_pose(pose: Sequence[float]) -> float:
    """Angle from upright of a pose x, y, z [m], qx, qy, qz, qw [deg]."""
    x, y, z, w = pose[3:]
    up = 1.0 - 2.0 * (x * x + y * y) / (x * x + y * y + z * z + w * w)
    return math.degrees(math.acos(min(max(up, -1.0), 1.0)))


def _version(text: str) -> tuple[int, ...] | None:
    numbers = re.findall(r"\d+", text)
    return tuple(int(number) for number in numbers[:3]) if len(numbers) >= 2 else None
