"""MuJoCo, imported once with the graphics settings every process of the cell needs.

``MUJOCO_GL`` and the Mesa variables are read when the libraries load, so they must be set before
``import mujoco``. All other modules write ``from ate_sim.world.engine import mujoco``.
"""

import ctypes.util
import os

from ate_core.errors import DeviceError

GRAPHICS_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0"
"""Debian and Ubuntu packages of the software renderer."""

_MISSING = [name for name in ("EGL", "OpenGL") if ctypes.util.find_library(name) is None]

# Without the library, MUJOCO_GL=egl would fail inside `import mujoco`; physics needs no graphics.
os.environ.setdefault("MUJOCO_GL", "disable" if _MISSING else "egl")
# llvmpipe then draws in the calling thread: same CPU per frame, predictable beside physics.
os.environ.setdefault("LP_NUM_THREADS", "0")

import mujoco  # noqa: E402

__all__ = ["GRAPHICS_PACKAGES", "mujoco", "require_graphics"]


def require_graphics() -> None:
    """Raise when pictures cannot be drawn on this machine.

    Raises:
        DeviceError: a system library is missing, or drawing was switched off.
    """
    if _MISSING:
        raise DeviceError(
            f"cannot draw camera pictures: system library {', '.join(_MISSING)} is missing; "
            f"install it with: apt-get install {GRAPHICS_PACKAGES}"
        )
    if os.environ["MUJOCO_GL"] == "disable":
        raise DeviceError("cannot draw camera pictures: MUJOCO_GL is 'disable'; set it to 'egl'")
