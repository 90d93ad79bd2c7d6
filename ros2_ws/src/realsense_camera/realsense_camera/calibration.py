"""Intrinsics from a file, for cameras that tell none or were calibrated anew."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ate_core.errors import UsageError
from ate_core.yaml_text import read_text, read_yaml
from realsense_camera.camera import Intrinsics

COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
"""Distortion models of sensor_msgs, and how many coefficients each has."""


def read_calibration(file: Path, width: int, height: int) -> Intrinsics:
    """Read a camera_info file as ROS's camera_calibration writes it (YAML).

    Args:
        file: the file.
        width: width of the pictures it is used for [pixel].
        height: their height [pixel].

    Raises:
        UsageError: it cannot be read, is no calibration, or belongs to another picture size.
    """
    values = _load(file)
    size = (values.get("image_width"), values.get("image_height"))
    if size != (width, height):
        raise UsageError(
            f"calibration {file} is for {size[0]}x{size[1]} pictures, the cell wants "
            f"{width}x{height}: calibrate at this size, or set the other in cell.yaml"
        )
    matrix = _numbers(values, "camera_matrix", file)
    if len(matrix) != 9 or not (matrix[0] > 0.0 and matrix[4] > 0.0):
        raise UsageError(
            f"calibration {file}: camera_matrix.data is {matrix}; need 9 numbers, row by row, "
            "with positive focal lengths"
        )
    model = values.get("distortion_model", "plumb_bob")
    coefficients = _numbers(values, "distortion_coefficients", file)
    if model not in COEFFICIENTS or len(coefficients) not in COEFFICIENTS[model]:
        known = ", ".join(f"{name} ({counts[-1]})" for name, counts in COEFFICIENTS.items())
        raise UsageError(
            f"calibration {file} has the model {model!r} with {len(coefficients)} coefficients; "
            f"need one of {known}"
        )
    return Intrinsics(
        fx=matrix[0],
        fy=matrix[4],
        ppx=matrix[2],
        ppy=matrix[5],
        distortion=coefficients,
        model=model,
    )


def _load(file: Path) -> dict[str, Any]:
    try:
        values = read_yaml(read_text(file))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UsageError(
            f"calibration {file} cannot be read ({reason}): give the YAML file that "
            "camera_calibration writes, or leave the entry out"
        ) from None
    if not isinstance(values, dict):
        raise UsageError(f"calibration {file} holds no mapping: give a camera_info YAML file")
    return values


def _numbers(values: dict[str, Any], key: str, file: Path) -> tuple[float, ...]:
    entry = values.get(key)
    data = entry.get("data") if isinstance(entry, dict) else None
    is_list = isinstance(data, list) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in data
    )
    if not is_list or not np.all(np.isfinite(data)):  # type: ignore[arg-type]
        raise UsageError(f"calibration {file}: {key}.data is {data!r}; need finite numbers")
    return tuple(float(item) for item in data)  # type: ignore[union-attr]
