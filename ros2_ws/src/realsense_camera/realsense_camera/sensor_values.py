"""What a sensor can be set to, and what of it was asked for."""

import logging

from ate_core.errors import DeviceError

log = logging.getLogger(__name__)

EXPOSURE_STEP_US = 100
"""Unit in which UVC's colour sensors count their exposure [us]."""


def nearest_value(where: str, value: float, low: float, high: float, step: float) -> float:
    """The value that a sensor has nearest to one of the cell file; told where it is another.

    Args:
        where: the camera, its entry and the value, for messages.
        value: what the cell file asks for.
        low: smallest value of the sensor, in the entry's unit, as are the next two.
        high: largest value.
        step: between two values.

    Raises:
        DeviceError: the sensor has none that is nearer than a step.
    """
    if not low - 0.5 * step < value < high + 0.5 * step:
        raise DeviceError(
            f"{where}; this camera needs {low:.10g} to {high:.10g} in steps of {step:.10g}: set "
            "such a value in cell.yaml, or leave the entry out"
        )
    steps = round((min(max(value, low), high) - low) / step)
    nearest = low + step * (steps if low + step * steps <= high else steps - 1)
    if abs(nearest - value) > 1e-6 * step:
        log.warning(
            "%s, which this camera does not have: it is set to %.10g; its steps are %.10g",
            *(where, nearest, step),
        )
    return nearest


def is_taken(got: float, wanted: float) -> bool:
    """Whether a sensor took a value: some give back what they made of it, a little beside."""
    return abs(got - wanted) <= 0.5 + 0.01 * abs(wanted)
