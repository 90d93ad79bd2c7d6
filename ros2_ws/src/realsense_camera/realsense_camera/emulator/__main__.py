"""Show a test pattern: ``python -m realsense_camera.emulator --role overhead --cell <yaml>``."""

import argparse
import signal
import sys
import threading

from ate_core.contract import load_cell
from ate_core.errors import AteError
from ate_core.loop import FixedRateLoop
from realsense_camera.camera import CameraSettings
from realsense_camera.emulator.pattern import PatternCamera


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description="A test pattern for one simulated camera.")
    parser.add_argument("--role", required=True, help="camera of the cell, for instance overhead")
    parser.add_argument("--cell", default=None, help="cell.yaml; default: the packaged one")
    options = parser.parse_args(args)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = CameraSettings.from_cell(load_cell(options.cell, "sim"), options.role)
        assert settings.frame_path is not None  # hardware "sim" always has a runtime folder
        camera = PatternCamera(settings.frame_path, settings.height, settings.width)
        for shown, _ in enumerate(FixedRateLoop(settings.fps, stop), start=1):
            camera.show(shown)
        camera.close()
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
