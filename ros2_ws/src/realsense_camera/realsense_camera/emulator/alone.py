"""One simulated camera that shows a test pattern, for `ate emulate camera`."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ate_core.contract import Cell
from ate_core.loop import FixedRateLoop, running_beside
from realsense_camera.camera import CameraSettings
from realsense_camera.emulator.pattern import PatternCamera

EXAMPLE = """ATE_RUNTIME_DIR={folder} python -m realsense_camera.nodes.camera_node \
--ros-args -p hardware:=sim -p role:={role}{cell}"""


@contextmanager
def emulate(cell: Cell, role: str) -> Iterator[tuple[str, str]]:
    """Show the pattern while the context lasts.

    Args:
        cell: a simulated cell.
        role: of the camera.

    Yields:
        Where the pictures are, and a command that publishes them.
    """
    settings = CameraSettings.from_cell(cell, role)
    assert settings.frame_path is not None  # a simulated cell always has a runtime folder
    camera = PatternCamera(settings.frame_path, settings.height, settings.width)
    stop = threading.Event()

    def show() -> None:
        for shown, _ in enumerate(FixedRateLoop(settings.fps, stop), start=1):
            camera.show(shown)

    with closing(camera), running_beside(show, stop, f"camera {role}"):
        yield (
            f"camera {role}, {settings.width}x{settings.height} at {settings.fps} Hz, in "
            f"{settings.frame_path}",
            EXAMPLE.format(folder=cell.runtime_dir, role=role, cell="{cell}"),
        )
