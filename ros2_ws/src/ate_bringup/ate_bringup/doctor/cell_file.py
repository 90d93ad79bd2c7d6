"""The cell file: is it right, and has it been filled in."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ate_bringup.doctor.finding import Patient
from ate_core.contract import (
    SIDES,
    Cell,
    Hardware,
    cell_file,
    cell_file_problems,
    load_cell,
)
from ate_core.device_names import unstable_names
from ate_core.errors import AteError, ContractError
from ate_core.findings import Finding, failed, passed, warned

PLACEHOLDER_SERIAL = re.compile(r"(00[:-]?){5}[0-9A-Fa-f]{2}")
"""Joy-Con address of the packaged cell: no maker's."""


def look_at_cell_file(patient: Patient) -> Iterator[Finding]:
    """Both bodies of the file, the real one and the simulated one."""
    file = cell_file(patient.cell_name)
    bodies: tuple[Hardware, ...] = ("real", "sim")
    said: set[str] = set()
    for hardware in bodies:
        problems = cell_file_problems(patient.cell_name, hardware)
        if hardware == "sim" and any("has no section 'simulation'" in one for one in problems):
            if patient.hardware == "sim":
                yield failed(file.name, problems[0], "")
            continue
        for problem in problems:
            if problem not in said:
                said.add(problem)
                yield failed("simulation" if hardware == "sim" else "entry", problem, "")
        if not problems:
            cell = load_cell(patient.cell_name, hardware)
            arms = ", ".join(f"{side} {arm.model}" for side, arm in cell.arms.items())
            yield passed(
                f"{file.name} ({hardware})",
                f"{cell.name}: arms {arms}; {len(cell.cameras)} cameras; layout "
                f"{cell.layout.sha256[:12]}",
            )
            yield from _undriven(cell, patient)
            yield from _one_armed(cell, patient)
            yield from _clearance(cell)
            yield from _calibrations(cell)
            if hardware == "real":
                yield from _placeholders(cell)
                names = unstable_names(cell.grippers, cell.cameras)
                yield from (warned(*named) for named in names)


def _undriven(cell: Cell, patient: Patient) -> Iterator[Finding]:
    """A cell without operators is read from files; nobody compared it with its arms."""
    if cell.operators:
        return
    tell = failed if patient.starts_devices else warned
    yield tell(
        "operators",
        "none: such a cell is only read from files, its limits and devices are not checked",
        "give each arm its operator before a launch drives it",
    )


def _one_armed(cell: Cell, patient: Patient) -> Iterator[Finding]:
    """A launch starts both arms, whoever checks the file alone."""
    if not cell.operators or len(cell.arms) == len(SIDES):
        return
    tell = failed if patient.starts_devices else warned
    yield tell(
        "arms",
        f"{', '.join(cell.arms)} alone: no launch starts such a cell",
        "describe both arms with their grippers and operators",
        " and ".join(SIDES),
    )


def _clearance(cell: Cell) -> Iterator[Finding]:
    """At home nothing is nearer than the distance at which the guard stops an arm."""
    if not cell.operators:
        return
    try:
        from ate_core.guard.geometry import CellGeometry
    except ImportError:
        return  # the libraries say which is missing
    geometry = CellGeometry(cell, tuple(cell.arms))
    geometry.update(np.concatenate([arm.home for arm in cell.arms.values()]))
    for index, (distance, pair) in enumerate(geometry.distances()):
        near = geometry.near(index, pair, distance)
        if distance < near.zone.stop:
            yield failed(
                "home",
                f"{near.first} is {1e3 * distance:.0f} mm from {near.second}",
                "no arm could leave it: correct home, base_pose, obstacles or guard."
                f"{near.kind}.stop",
                f"{1e3 * near.zone.stop:.0f} mm",
            )


def _calibrations(cell: Cell) -> Iterator[Finding]:
    """The files that the cameras' intrinsics come from."""
    for role, camera in cell.cameras.items():
        if not camera.calibration:
            continue
        # By name: a package of drivers is not imported.
        reader = importlib.import_module("realsense_camera.calibration")
        try:
            reader.read_calibration(Path(camera.calibration), camera.width, camera.height)
        except AteError as error:
            yield failed(f"cameras.{role}.calibration", str(error), "")


def _placeholders(cell: Cell) -> Iterator[Finding]:
    """Entries that are allowed and yet cannot be those of a real cell."""
    if not cell.operators:
        return
    for side, operator in cell.operators.items():
        if PLACEHOLDER_SERIAL.fullmatch(operator.joycon_serial):
            yield warned(
                f"operators.{side}.joycon_serial",
                f"{operator.joycon_serial}, which no Joy-Con has",
                "write the address that `bluetoothctl devices` shows",
            )
    for side, arm in cell.arms.items():
        if arm.ip.startswith("127."):
            yield warned(
                f"arms.{side}.ip",
                f"{arm.ip}, this machine itself",
                "right for an emulated controller only (`ate emulate arm`)",
            )
    listed = [role for role, camera in cell.cameras.items() if camera.backend == "realsense"]
    unnamed = [role for role in listed if not cell.cameras[role].serial]
    if unnamed and len(listed) > 1:
        yield warned(
            f"cameras {', '.join(unnamed)}",
            "no serial",
            "write serials into the cell file, or which picture belongs to which role is "
            "left to chance (`ate doctor --live` lists the cameras that are connected)",
        )
    if not any(one.is_worked_on for one in cell.obstacles.values()):
        yield warned(
            "obstacles",
            f"{', '.join(cell.obstacles) or 'none'}, and nothing that is worked on",
            "declare the table too, with is_worked_on: true, or the guard lets the arms into it: "
            "obstacles of a cell file replace the packaged table",
        )
    period = 1.0 / cell.tick_rate
    if cell.safety.command_timeout <= period:
        yield warned(
            "safety.command_timeout",
            f"{cell.safety.command_timeout:g} s at tick_rate {cell.tick_rate:g} Hz",
            "set it above one tick, or the arms hold between a policy's commands",
            f"more than {period:g} s",
        )
    longest = cell.safety.max_joint_speed * period
    if cell.safety.max_step < longest:
        yield warned(
            "safety.max_step",
            f"{cell.safety.max_step:g} rad",
            "raise it, lower max_joint_speed or raise tick_rate, or a policy's fast steps are "
            "refused",
            f"max_joint_speed times one tick, {longest:.3g} rad",
        )


def cell_is_right(patient: Patient) -> bool:
    """Whether the body that is looked at can be loaded at all."""
    try:
        return bool(patient.cell)
    except ContractError:
        return False
