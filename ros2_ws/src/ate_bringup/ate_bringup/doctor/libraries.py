"""Versions of the libraries that a cell stands on."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ate_bringup.doctor.finding import Patient
from ate_core.contract import Cell
from ate_core.findings import Finding, failed, passed, warned

L515_LAST = (2, 54)
"""Last release of pyrealsense2 that opens an L515; 2.55.1 has removed it."""
L515_REMEDY = (
    "an L515 is not even listed by pyrealsense2 2.55.1 or newer: read its colour stream with "
    "backend v4l2, or install pyrealsense2==2.54.2.5684 (Python 3.11 or older)"
)


@dataclass(frozen=True, kw_only=True)
class Library:
    """One library and the version that the stack is tested with."""

    tested: str
    """Version of constraints.txt."""
    is_needed: Callable[[Cell], bool] = lambda _: True
    """Whether a cell uses it."""
    same: int = 2
    """How many parts of the version must be equal to what was tested."""


def _drives(driver: str) -> Callable[[Cell], bool]:
    return lambda cell: any(arm.driver == driver for arm in cell.arms.values())


def _sees(backend: str) -> Callable[[Cell], bool]:
    return lambda cell: any(camera.backend == backend for camera in cell.cameras.values())


def _has_operators(cell: Cell) -> bool:
    return bool(cell.operators)


LIBRARIES: Mapping[str, Library] = {
    "numpy": Library(tested="2.4.6", same=1),
    "pin": Library(tested="4.1.0", same=1),
    "coal": Library(tested="3.0.3", same=1),
    "daqp": Library(tested="0.11.0"),
    "mujoco": Library(tested="4.0.0", same=1, is_needed=lambda cell: cell.hardware == "sim"),
    "robotic-arm": Library(tested="1.1.6", same=3, is_needed=_drives("realman")),
    "pyrealsense2": Library(tested="2.59.1.11053", is_needed=_sees("realsense")),
    "pyserial": Library(tested="3.5", is_needed=lambda cell: bool(cell.grippers)),
    "joycon-python": Library(tested="0.2.4", same=3, is_needed=_has_operators),
    "hidapi": Library(tested="0.15.0", is_needed=_has_operators),
    "pyglm": Library(tested="2.8.3", is_needed=_has_operators),
    "grpcio": Library(tested="1.85.1", same=1, is_needed=_has_operators),
    "protobuf": Library(tested="7.36.2", same=1, is_needed=_has_operators),
    "simplejpeg": Library(tested="1.9.0", same=1, is_needed=lambda cell: bool(cell.cameras)),
    "mcap": Library(tested="1.6.0", same=1),
}
"""What a cell needs -> what it is tested with; a test compares it with constraints.txt."""


def look_at_libraries(patient: Patient) -> Iterator[Finding]:
    """Each library that the cell uses is there, in the version that is tested."""
    yield _python()
    yield from _opencv(patient)
    for name, library in LIBRARIES.items():
        if not library.is_needed(patient.cell):
            continue
        found = installed(name)
        if found is None:
            yield failed(
                name, "not installed", "install the stack with `make setup`", library.tested
            )
        elif name == "pyrealsense2":
            yield _realsense(found, library)
        elif _parts(found)[: library.same] != _parts(library.tested)[: library.same]:
            yield warned(
                name,
                found,
                f"not tried with it: pip install {name}=={library.tested}",
                library.tested,
            )
        else:
            yield passed(name, found)


def _opencv(patient: Patient) -> Iterator[Finding]:
    """OpenCV, whichever package brought it; the stack is installed without."""
    roles = [role for role, one in patient.cell.cameras.items() if one.backend == "v4l2"]
    if not roles or not patient.runs_cameras:
        return
    if importlib.util.find_spec("cv2") is None:
        value = f"not installed, and backend v4l2 of {', '.join(roles)} shows nothing without it"
        yield warned("OpenCV", value, "pip install opencv-python-headless")
    else:
        yield passed("OpenCV", f"for {', '.join(roles)}")


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return passed("python", found)
    return warned("python", found, "the wheels of ROS are made for these versions", "3.11 to 3.13")


def _realsense(found: str, library: Library) -> Finding:
    if tuple(_parts(found)[:2]) <= L515_LAST:
        return passed("pyrealsense2", f"{found}, which opens an L515 too")
    same = _parts(found)[: library.same] == _parts(library.tested)[: library.same]
    note = f"{found}; {L515_REMEDY}"
    if same:
        return passed("pyrealsense2", note)
    return warned("pyrealsense2", note, f"tested with {library.tested}")


def installed(name: str) -> str | None:
    """Version of an installed package; None where it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _parts(text: str) -> list[int]:
    return [int(part) for part in text.split(".") if part.isdecimal()]
