"""What ``cell.yaml`` says of the surroundings: obstacles, and the distances kept from everything.

Lengths in metres, in the world frame (x forward, y left, z up; the origin lies on the table).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from ate_core.devices import POSE_SIZE
from ate_core.entry_checks import Pose, Range
from ate_core.strict import require

ShapeName = Literal["box", "cylinder", "sphere", "capsule"]

Coordinate = Annotated[float, Range(-3.0, 3.0, "m")]
"""Coordinate of a wall of the workspace."""
NARROWEST = 0.005
"""Narrowest zone in which an arm is slowed [m]."""
_SIZES: dict[str, tuple[str, ...]] = {
    "box": ("length x", "length y", "length z"),
    "cylinder": ("radius", "length"),
    "sphere": ("radius",),
    "capsule": ("radius", "length between the centres of its ends"),
}


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Something that stands still in the cell and must not be touched, or only by grippers."""

    shape: ShapeName
    """Its solid; a cylinder and a capsule stand along their own z."""
    size: tuple[Annotated[float, Range(0.001, 10.0, "m")], ...]
    """Box: lengths x, y, z; cylinder and capsule: radius, length; sphere: radius [m]."""
    pose: Annotated[tuple[float, ...], Pose(reach=10.0)]
    """Centre in the world: x, y, z [m], qx, qy, qz, qw."""
    is_worked_on: bool = False
    """Whether grippers work on it, so that the distances of ``table`` hold, not ``obstacle``."""

    def __post_init__(self) -> None:
        names = _SIZES[self.shape]
        require(
            len(self.size) == len(names),
            f"obstacle {self.shape}: size has {len(self.size)} numbers, need {', '.join(names)}",
        )
        require(
            len(self.pose) == POSE_SIZE,
            f"obstacle {self.shape}: pose has {len(self.pose)} numbers, need x y z qx qy qz qw",
        )


@dataclass(frozen=True, kw_only=True)
class Zone:
    """How near one kind of pair may come."""

    stop: Annotated[float, Range(0.0002, 0.2, "m")]
    """Distance at which the arm stands still [m]."""
    slow: Annotated[float, Range(0.005, 0.6, "m")]
    """Distance from which it is slowed, in proportion to what is left [m]."""

    def __post_init__(self) -> None:
        require(
            self.slow - self.stop >= NARROWEST,
            f"guard: a pair is slowed below {self.slow} m and stopped at {self.stop} m; need slow "
            f"at least {NARROWEST} m above stop",
        )


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """What the distance guard keeps; every entry has a default that the simulated tasks fit in."""

    arm_arm: Zone = Zone(stop=0.01, slow=0.13)
    """Between the arms: link to link, and link to gripper."""
    gripper_gripper: Zone = Zone(stop=0.015, slow=0.13)
    """Between the two grippers."""
    arm_table: Zone = Zone(stop=0.02, slow=0.10)
    """Between a link and what is worked on."""
    gripper_table: Zone = Zone(stop=0.0005, slow=0.05)
    """Between a gripper and what is worked on."""
    same_arm: Zone = Zone(stop=0.01, slow=0.06)
    """Between parts of one arm."""
    obstacle: Zone = Zone(stop=0.03, slow=0.15)
    """Between an arm or its gripper and an obstacle."""
    workspace_lower: tuple[Coordinate, ...] = (-0.6, -1.0, -0.02)
    """Least x, y, z of the grasp points in the world [m]."""
    workspace_upper: tuple[Coordinate, ...] = (0.95, 1.0, 1.2)
    """Largest x, y, z of the grasp points in the world [m]."""
    workspace_slow: Annotated[float, Range(0.005, 0.5, "m")] = 0.05
    """Distance from the walls of the workspace from which an arm is slowed [m]."""
    tool_speed: Annotated[float, Range(0.05, 2.0, "m/s")] = 1.0
    """Largest speed of a grasp point [m/s]."""
    gripper: str = "omnipicker"
    """Shapes of the gripper: a packaged name of ate_description/grippers."""

    def __post_init__(self) -> None:
        rows = zip("xyz", self.workspace_lower, self.workspace_upper, strict=False)
        require(
            len(self.workspace_lower) == len(self.workspace_upper) == 3,
            "guard: workspace_lower and workspace_upper need three numbers each, x y z",
        )
        for axis, low, high in rows:
            require(
                low < high,
                f"guard: the workspace goes from {low} to {high} m in {axis}; need lower < upper",
            )


def packaged_obstacles() -> dict[str, Obstacle]:
    """The table of a cell that declares no obstacles: 0.9 m x 1.6 m, its top at z = 0."""
    pose = (0.25, 0.0, -0.03, 0.0, 0.0, 0.0, 1.0)
    return {
        "table": Obstacle(shape="box", size=(0.9, 1.6, 0.06), pose=pose, is_worked_on=True),
    }
