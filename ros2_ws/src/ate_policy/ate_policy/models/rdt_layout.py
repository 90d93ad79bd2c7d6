"""Where RDT keeps each quantity: one vector of 128 numbers for every robot.

Source: `configs/state_vec.py` of thu-ml/RoboticsDiffusionTransformer. Positions are asked for by
the field names of a cell's layout; no other module knows an index.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ate_core.errors import LayoutError

SIZE = 128
"""Numbers in the unified vector."""

ARM_FIELDS = {
    "arm": (0, 10),
    "gripper": (10, 5),
    "arm_velocity": (15, 10),
    "gripper_velocity": (25, 5),
    "tool_position": (30, 3),
    "tool_rotation": (33, 6),
    "tool_velocity": (39, 3),
    "tool_angular_velocity": (42, 3),
}
"""Field of the right arm -> its first entry and the entries there are. Angles [rad], ratios
(1 open), m, m/s, rad/s; a rotation as its first two columns."""

LEFT = 50
"""The left arm's entries lie so much behind the right one's."""

BASE_FIELDS = {"base_velocity": (100, 2), "base_yaw_rate": (102, 1)}
"""Field of a mobile base, likewise."""

RESERVED = (103, 25)
"""Reserved entries: first and number. A state policy's objects are put here."""


def indices_of(names: Sequence[str]) -> tuple[int, ...]:
    """Entries of the unified vector that hold the components of a layout.

    Args:
        names: Component names as `VectorLayout.names` gives them: `left_arm_1` ... , or the bare
            field name of a scalar. A robot with one arm may leave out the side and uses the
            right one's entries.
    """
    indices = tuple(_index(name) for name in names)
    if len(set(indices)) != len(indices):
        raise LayoutError(
            f"two of {list(names)} share an entry of RDT's vector: name each component once"
        )
    return indices


def object_indices(count: int) -> tuple[int, ...]:
    """Entries that hold `count` object features of a state policy."""
    begin, room = RESERVED
    if count > room:
        raise LayoutError(
            f"{count} object features do not fit into RDT's {room} reserved entries: use fewer "
            "objects, or another policy"
        )
    return tuple(range(begin, begin + count))


def place(values: Tensor, indices: Sequence[int] | Tensor) -> Tensor:
    """Put numbers into their entries: (..., n) -> (..., 128), zero elsewhere.

    Indices that are a tensor are where the values are: nothing is copied to a GPU for them.
    """
    vector = values.new_zeros(*values.shape[:-1], SIZE)
    indices = torch.as_tensor(indices, device=values.device)
    return vector.index_copy(-1, indices, values)


def mask_of(indices: Sequence[int]) -> Tensor:
    """1 in the entries that a robot has, 0 elsewhere, (128,)."""
    return place(torch.ones(len(indices)), indices)


def _index(name: str) -> int:
    field, _, number = name.rpartition("_")
    if field and number.isdigit():
        position = int(number) - 1
    else:
        field, position = name, 0
    begin, size = _block(field, name)
    if not 0 <= position < size:
        raise LayoutError(
            f"'{name}' lies outside RDT's vector, which has {size} entries for '{field}'"
        )
    return begin + position


def _block(field: str, name: str) -> tuple[int, int]:
    if field in BASE_FIELDS:
        return BASE_FIELDS[field]
    quantity = field.removeprefix("left_").removeprefix("right_")
    if quantity not in ARM_FIELDS:
        raise LayoutError(
            f"RDT's vector has no place for '{name}': it knows {', '.join(ARM_FIELDS)} of "
            f"left, right or a single arm, and {', '.join(BASE_FIELDS)}"
        )
    begin, size = ARM_FIELDS[quantity]
    return (begin + LEFT if field.startswith("left_") else begin), size
