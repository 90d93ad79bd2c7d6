"""A calibration on disk: one small YAML per operator, and what it must be to be taken over."""

import math
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml

from ate_core.contract import Cell
from ate_core.entry_checks import Quaternion, Range
from ate_core.errors import ContractError
from ate_core.files import replace_text
from ate_core.geometry import matrix_to_quaternion, quaternion_to_matrix, rotation_log
from ate_core.hand_mapping import operator_mapping
from ate_core.strict import build_checked, require, shown
from ate_core.yaml_text import read_text, read_yaml
from ate_teleop.calibration import CalibrationConfig, HandCalibration

VERSION = 1
"""Of the file's fields."""
OLDEST = 12 * 3600.0
"""Age from which a calibration is not taken over: the headset's app has a frame of its own from
each start on, and nobody leaves it running overnight [s]."""
_BOUNDS = CalibrationConfig()


@dataclass(frozen=True, kw_only=True)
class CalibrationFile:
    """What the file holds."""

    version: int
    """Of these fields."""
    cell: str
    """Name of the cell."""
    operator: str
    """Entry of the cell's operators."""
    hand: str
    """The hand that was shown."""
    headset: str
    """Address and port of the headset in whose frame it holds."""
    made: Annotated[float, Range(1.7e9, 1e10, "s")]
    """When it was made [s since 1970, UTC]."""
    heading: Annotated[float, Range(-math.pi, math.pi, "rad")]
    """From the headset's front to the person's, to the left [rad]."""
    hand_rotation: Quaternion
    """Rotation x, y, z, w from tool to wrist."""
    correction: Annotated[float, Range(0.0, _BOUNDS.tilt, "rad")]
    """Angle between that and the cell's [rad]."""
    residual: Annotated[float, Range(0.0, _BOUNDS.square, "rad")]
    """Difference of either stroke from the mean of the two [rad]."""
    curve: Annotated[float, Range(0.0, 0.3, "m")]
    """Largest distance of the strokes from straight lines [m]."""
    void: str = ""
    """Why the heading holds no longer; empty while it does."""


def calibration_path(folder: str | Path, cell: Cell, side: str) -> Path:
    """File of an operator.

    Args:
        folder: where calibrations are kept; empty: the user's folder of settings, and for a
            simulated cell its runtime folder.
        cell: the cell.
        side: of the operator.
    """
    if not folder and cell.hardware == "sim":
        folder = cell.runtime_path("calibrations")
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    name = re.sub(r"[^\w.-]", "_", cell.name)
    return Path(folder or settings / "ate" / "calibrations") / f"{name}-{side}.yaml"


def save_calibration(
    path: Path, calibration: HandCalibration, cell: Cell, side: str, made: float
) -> None:
    """Write the file, whole or not at all; `made` is in seconds since 1970.

    Raises:
        OSError: it cannot be written.
    """
    rotation = matrix_to_quaternion(np.array(calibration.rotation_tool_to_wrist))
    values = CalibrationFile(
        version=VERSION,
        **_identity(cell, side),
        made=round(made, 3),
        heading=calibration.heading,
        hand_rotation=tuple(rotation.tolist()),
        correction=calibration.correction,
        residual=calibration.residual,
        curve=calibration.curve,
        void=calibration.void,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = (
        "# Written by a calibration of this operator; delete it to go back to the cell's values.\n"
    )
    document = {**asdict(values), "hand_rotation": list(values.hand_rotation)}
    replace_text(path, text + yaml.safe_dump(document, sort_keys=False))


def load_calibration(
    path: Path, cell: Cell, side: str, now: float
) -> tuple[HandCalibration, float] | None:
    """Read the file: the calibration and its age [s]; None where there is none.

    Args:
        path: the file.
        cell: the cell that is driven now.
        side: of the operator.
        now: seconds since 1970.

    Raises:
        ContractError: it is not of this operator, headset and cell, is too old or not sound.
    """
    try:
        values = read_yaml(read_text(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContractError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    version = values.get("version") if isinstance(values, dict) else None
    require(
        version == VERSION and not isinstance(version, bool),
        f"{path}: version is {shown(version)}; need {VERSION}",
    )
    file = build_checked(CalibrationFile, values, str(path))
    for name, needed in _identity(cell, side).items():
        found = getattr(file, name)
        require(found == needed, f"{path}: {name} is {shown(found)}; need {needed!r}")
    age = now - file.made
    require(
        -60.0 <= age <= OLDEST,
        f"{path}: it is {age / 3600.0:.1f} hours old; need 0 to {OLDEST / 3600.0:g}",
    )
    return _checked(path, file, cell, side), max(age, 0.0)


def _checked(path: Path, file: CalibrationFile, cell: Cell, side: str) -> HandCalibration:
    """The calibration, where it fits the hand that the cell describes."""
    operator = cell.operators[side]
    nominal = operator_mapping(operator, cell.arms[operator.arm]).rotation_tool_to_wrist
    rotation = quaternion_to_matrix(file.hand_rotation)
    correction = float(np.linalg.norm(rotation_log(nominal.T @ rotation)))
    require(
        abs(correction - file.correction) < 1e-3,
        f"{path}: hand_rotation is {math.degrees(correction):.1f} deg from the cell's; need the "
        f"{math.degrees(file.correction):.1f} deg of its correction: the cell was changed",
    )
    return HandCalibration(
        heading=file.heading,
        rotation_tool_to_wrist=tuple(tuple(row) for row in rotation.tolist()),
        correction=file.correction,
        residual=file.residual,
        curve=file.curve,
        void=file.void,
    )


def _identity(cell: Cell, side: str) -> dict[str, Any]:
    """Whose calibration it is."""
    operator = cell.operators[side]
    return {
        "cell": cell.name,
        "operator": side,
        "hand": operator.hand,
        "headset": f"{operator.headset_ip}:{operator.headset_port}",
    }
