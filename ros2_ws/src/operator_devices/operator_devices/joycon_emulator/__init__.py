"""Emulated Joy-Cons, at the level of whole HID reports.

`JoyConEmulator` is the controller; the module `hid` in the folder `standin_path()` takes the
place of the hidapi library when that folder is first on PYTHONPATH. The two meet on Unix sockets,
one packet per report.
"""

from pathlib import Path

from operator_devices.joycon_emulator.emulator import JoyConEmulator

__all__ = ["JoyConEmulator", "standin_path"]


def standin_path() -> Path:
    """The folder to put first on PYTHONPATH of processes that shall see emulated controllers."""
    return Path(__file__).resolve().parent / "standin"
