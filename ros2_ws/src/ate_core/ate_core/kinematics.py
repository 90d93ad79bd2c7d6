"""Forward kinematics and Jacobian of a serial chain of revolute joints, in numpy."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.errors import ContractError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Joint:
    """One revolute joint; its origin is placed in the frame of the joint before it."""

    name: str
    """Name, for instance ``joint1``."""
    origin: Array
    """Transform (4, 4) from this joint's frame at zero to the frame before."""
    axis: Array
    """Unit axis (3,) in the joint's own frame."""
    lower: float
    """Lower limit [rad]."""
    upper: float
    """Upper limit [rad]."""
    speed: float
    """Largest speed [rad/s]."""
    effort: float
    """Largest torque [N m]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SerialChain:
    """Base to tip through joints; ``tip`` is fixed to the last one."""

    joints: tuple[Joint, ...]
    """The joints, base first."""
    tip: Array
    """Transform (4, 4) from the tip frame to the last joint's frame."""

    @property
    def lower(self) -> Array:
        """Lower limits (n,) [rad]."""
        return np.array([joint.lower for joint in self.joints])

    @property
    def upper(self) -> Array:
        """Upper limits (n,) [rad]."""
        return np.array([joint.upper for joint in self.joints])

    @property
    def speed(self) -> Array:
        """Largest speeds (n,) [rad/s]."""
        return np.array([joint.speed for joint in self.joints])

    def with_tip(self, transform_tool_to_tip: ArrayLike) -> "SerialChain":
        """The same chain, ending at a tool fixed to the present tip."""
        tip = self.tip @ np.asarray(transform_tool_to_tip, dtype=np.float64)
        return SerialChain(joints=self.joints, tip=tip)

    def fk_all(self, q: ArrayLike) -> list[Array]:
        """Transforms (4, 4) to the base of each joint frame, and last of the tip."""
        angles = np.asarray(q, dtype=np.float64)
        if angles.shape != (len(self.joints),):
            raise ContractError(
                f"joint vector has shape {angles.shape}, the chain has {len(self.joints)} joints"
            )
        still, sines, cosines = self._terms
        steps = still + np.sin(angles)[:, None, None] * sines
        steps += (1.0 - np.cos(angles))[:, None, None] * cosines
        frames = [steps[0]]
        for step in steps[1:]:
            frames.append(frames[-1] @ step)
        frames.append(frames[-1] @ self.tip)
        return frames

    @cached_property
    def _terms(self) -> tuple[Array, Array, Array]:
        """Joint transforms (n, 4, 4) as A + sin(q) B + (1 - cos(q)) C (Rodrigues' formula)."""
        still = np.stack([joint.origin for joint in self.joints])
        skew = np.zeros_like(still)
        for index, joint in enumerate(self.joints):
            x, y, z = joint.axis
            skew[index, :3, :3] = [[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]
        return still, still @ skew, still @ skew @ skew

    def fk(self, q: ArrayLike) -> Array:
        """Transform (4, 4) from the tip to the base."""
        return self.fk_all(q)[-1]

    def jacobian(self, q: ArrayLike) -> Array:
        """Jacobian (6, n) of the tip in the base frame: linear rows [m], then angular [rad]."""
        return self.linearise(q)[1]

    def linearise(self, q: ArrayLike) -> tuple[Array, Array]:
        """Transform (4, 4) from the tip to the base, and its Jacobian (6, n), see `jacobian`."""
        *frames, tip = self.fk_all(q)
        placed = np.stack(frames)
        axes = (placed[:, :3, :3] @ self._axes).squeeze(2).T
        (x, y, z), (along_x, along_y, along_z) = axes, (tip[:3, 3] - placed[:, :3, 3]).T
        # the rows of axis x way: np.cross takes most of the time for so few numbers
        linear = y * along_z - z * along_y, z * along_x - x * along_z, x * along_y - y * along_x
        return tip, np.vstack([*linear, axes])

    @cached_property
    def _axes(self) -> Array:
        """Axes (n, 3, 1) in the joints' own frames."""
        return np.stack([joint.axis for joint in self.joints])[:, :, None]
