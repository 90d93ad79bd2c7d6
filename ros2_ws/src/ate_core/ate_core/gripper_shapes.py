"""What a gripper fills, as its file tells: for the guard, and for the checks of a cell."""

import functools
from dataclasses import dataclass
from typing import Annotated

import yaml

from ate_core.arm_model import Capsule
from ate_core.entry_checks import Range
from ate_core.errors import ContractError
from ate_core.strict import build_checked, require
from ate_description import gripper_file, gripper_names


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box of a gripper, along the axes of the flange."""

    centre: tuple[Annotated[float, Range(-0.5, 0.5, "m")], ...]
    """Centre [m]."""
    half: tuple[Annotated[float, Range(0.001, 0.5, "m")], ...]
    """Half sizes [m]."""

    def __post_init__(self) -> None:
        require(len(self.centre) == 3, f"box: centre is {list(self.centre)}; need x, y, z")
        require(len(self.half) == 3, f"box: half is {list(self.half)}; need three half sizes")


@dataclass(frozen=True, kw_only=True)
class GripperShapes:
    """What a gripper fills at any opening, in the frame of the flange."""

    boxes: tuple[Box, ...] = ()
    """Boxes along the axes of the flange."""
    capsules: tuple[Capsule, ...] = ()
    """Capsules."""

    @property
    def reach(self) -> float:
        """Where the shapes end along the axis of the flange [m]; 0 without any."""
        ends = [box.centre[2] + box.half[2] for box in self.boxes]
        ends += [max(one.start[2], one.end[2]) + one.radius for one in self.capsules]
        return max(ends, default=0.0)


@functools.cache
def load_gripper(name: str) -> GripperShapes:
    """Shapes of a packaged gripper.

    Raises:
        ContractError: there is no such gripper, or its file is wrong.
    """
    if name not in gripper_names():
        raise ContractError(
            f"guard.gripper is {name!r}; known grippers: {', '.join(gripper_names())}"
        )
    file = gripper_file(name)
    return build_checked(GripperShapes, yaml.safe_load(file.read_text()), file.name)
