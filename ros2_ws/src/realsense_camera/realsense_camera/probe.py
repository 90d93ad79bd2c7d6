"""Which cameras are connected, and whether one delivers its stream, for `ate doctor`."""

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.camera_config import CAMERA_BACKENDS
from ate_core.contract import Cell
from ate_core.findings import Finding, failed, passed, probe_main, warned
from realsense_camera.backends.sdk import load_sdk
from realsense_camera.camera import CameraBackend, CameraSettings, Frame
from realsense_camera.health import HIGH_RATE, IGNORED_RATE
from realsense_camera.pictures import SeenPictures, complaint

FIRST_FRAME_TIME = 6.0
"""Longest wait for the first picture [s]; the first ones of a sensor take long."""
LOOK_TIME = 1.0
"""How long pictures are counted, at least [s]."""
LOOK_PERIODS = 3.0
"""The same in periods, for slow cameras."""
MIN_SHARE = 0.9
"""Share of the wanted rate that must arrive."""
MIN_CHANGES = 0.5
"""Share of a real sensor's pictures that must be new: its noise changes each one."""


def look(cell: Cell, role: str) -> Iterator[Finding]:
    """List what the library sees, then count the pictures of one camera."""
    camera = cell.cameras[role]
    if camera.backend == "realsense":
        yield from _connected(role, camera.serial)
    backend = CAMERA_BACKENDS.load(camera.backend)(CameraSettings.from_cell(cell, role))
    yield _count(role, camera.fps, backend)


def _connected(role: str, serial: str) -> Iterator[Finding]:
    sdk = load_sdk()
    found = {}
    for device in sdk.context().query_devices():
        values = {key: _info(sdk, device, key) for key in ("serial_number", "name")}
        found[values["serial_number"]] = (
            f"{values['name']} {values['serial_number']}, firmware "
            f"{_info(sdk, device, 'firmware_version')}, USB "
            f"{_info(sdk, device, 'usb_type_descriptor')}"
        )
    value = "; ".join(found.values()) or "none"
    if not serial and len(found) > 1:
        yield failed(
            f"camera {role}",
            f"no serial, and {len(found)} cameras are connected: {value}",
            f"write one of these serials into cameras.{role}.serial",
        )
    else:
        yield passed("RealSense cameras connected", value)


def _info(sdk: Any, device: Any, key: str) -> str:
    kind = getattr(sdk.camera_info, key)
    return str(device.get_info(kind)) if device.supports(kind) else "?"


def _count(role: str, fps: int, backend: CameraBackend) -> Finding:
    first, seen = threading.Event(), []
    pictures = SeenPictures()

    def keep(frame: Frame) -> None:
        is_changed = pictures.take(np.array(frame.image, order="C"))
        seen.append((frame.number, is_changed))
        first.set()

    try:
        backend.open(keep)
        if not first.wait(FIRST_FRAME_TIME):
            return failed(f"camera {role}", "no picture", "pull its plug and put it in again")
        seen.clear()
        begin = time.monotonic()
        threading.Event().wait(max(LOOK_TIME, LOOK_PERIODS / fps))
        rate = len({number for number, _ in seen}) / (time.monotonic() - begin)
    finally:
        backend.close()
    changes = sum(is_changed for _, is_changed in seen)
    if seen and getattr(backend, "is_noisy", False) and changes < MIN_CHANGES * len(seen):
        return failed(
            f"camera {role}",
            f"its picture is frozen: {len(seen) - changes} of {len(seen)} equal an earlier one",
            "take off what covers its lens; pull its plug and put it in again",
        )
    losses = list(_losses(rate, fps, pictures.latest))
    if losses:
        values, remedies = zip(*losses, strict=True)
        return warned(f"camera {role}", "; ".join(values), "; ".join(remedies))
    return passed(f"camera {role}", f"{rate:.1f} pictures/s of {fps}")


def _losses(rate: float, fps: int, picture: NDArray[np.uint8] | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a camera that delivers, and what to do."""
    value = f"{rate:.1f} pictures/s (need {fps})"
    if rate < MIN_SHARE * fps:
        yield value, "a fixed exposure below one period, more light, another USB controller"
    if rate > HIGH_RATE * fps:
        yield value, IGNORED_RATE
    if picture is not None and any(odd := complaint(picture)):
        yield odd


if __name__ == "__main__":
    sys.exit(probe_main(look, "camera"))
