"""What a launch writes beside its episodes: reports, logs, and what its processes share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ate_bringup.doctor.finding import Patient
from ate_core.findings import Finding, failed, passed

MIN_ROOM = 50e6
"""Free space without which logs and shared states soon fail [byte]."""


def look_at_places(patient: Patient) -> Iterator[Finding]:
    """Files that a launch is to write, its log and its runtime folder can be written."""
    for name, file in patient.files.items():
        what = f"{name}:={file}"
        if file.is_dir():
            yield failed(what, "is a folder", f"name a file, as {file / 'report.json'}")
        else:
            yield _place(what, file if file.exists() else file.absolute().parent, "another file")
    yield _place("log folder of ROS", _log_folder(), "set ROS_LOG_DIR to another folder")
    if patient.hardware == "sim":
        folder = Path(patient.cell.runtime_dir)
        yield _place("runtime folder", folder, "set ATE_RUNTIME_DIR to another folder")


def _log_folder() -> Path:
    """Where the nodes of ROS write their logs."""
    home = os.environ.get("ROS_HOME") or "~/.ros"
    return Path(os.environ.get("ROS_LOG_DIR") or f"{home}/log").expanduser()


def _place(what: str, path: Path, remedy: str) -> Finding:
    """Whether a file or folder can be written, or made."""
    path = path.absolute()
    there = next(place for place in (path, *path.parents) if place.exists() or place.is_symlink())
    if there != path and not there.is_dir():
        return failed(what, f"{path} cannot be made: {there} is no folder", remedy)
    if not os.access(there, os.W_OK):
        return failed(what, f"{there} cannot be written to", f"change its owner, or {remedy}")
    free = shutil.disk_usage(there).free
    if free < MIN_ROOM:
        value = f"{free / 1e6:.0f} MB free on the disk of {there}"
        return failed(what, value, f"free space, or {remedy}", f"{MIN_ROOM / 1e6:.0f} MB")
    return passed(what, f"{path} can be written")
