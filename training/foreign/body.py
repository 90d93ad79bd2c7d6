"""The contract of a robot that was only recorded: it says whose motion the episodes hold."""

import re
from collections.abc import Mapping
from dataclasses import replace

from ate_core.contract import Cell
from training.foreign.mapping import ColumnMapping
from training.foreign.vectors import TURN

FASTEST = 10.0
"""Joint speed that no arm of this kind exceeds [rad/s]: the body's own limit is not known."""


def foreign_cell(
    cell: Cell, mapping: ColumnMapping, sizes: Mapping[str, tuple[int, int]], rate: float
) -> Cell:
    """The layout of a cell with another body: nobody drives it, its limits are not known.

    Args:
        cell: Whose layout the recordings are brought into.
        mapping: Names the body and its columns.
        sizes: Height and width of each camera's images, by key [pixel].
        rate: Images per second [Hz].
    """
    name = f"foreign_{plain(mapping.body)}"
    arms = {}
    for side, arm in cell.arms.items():
        joints = len(arm.joint_names)
        arms[side] = replace(
            arm,
            model=name,
            ip="",
            udp_port=0,
            options={},
            home=(0.0,) * joints,
            joint_names=_joint_names(mapping, side, arm.joint_names),
            joint_lower=(-TURN,) * joints,
            joint_upper=(TURN,) * joints,
            joint_speed=(FASTEST,) * joints,
            guards={},
        )
    cameras = {
        role: replace(
            camera,
            serial="",
            backend="file",
            height=sizes[camera.key][0],
            width=sizes[camera.key][1],
            fps=max(1, round(rate)),
            calibration="",
            exposure_us=None,
            gain=None,
            white_balance_k=None,
            view=None,
        )
        for role, camera in cell.cameras.items()
        if camera.key in sizes
    }
    return replace(
        cell, name=name, hardware="real", arms=arms, cameras=cameras, operators={}, runtime_dir=""
    )


def plain(text: str) -> str:
    """A text as a name: small letters, digits and _."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unknown"


def _joint_names(mapping: ColumnMapping, side: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The body's own names, where it has some; absent joints keep the cell's."""
    field = mapping.state.fields.get(f"{side}_arm")
    if field is None or len(field.columns) != len(names):
        return names
    own = tuple(
        name if column is None else re.sub(r"\W+", "_", column).strip("_")
        for column, name in zip(field.columns, names, strict=True)
    )
    return own if len(set(own)) == len(own) else names
