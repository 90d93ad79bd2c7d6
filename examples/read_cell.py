"""Read a cell description, given by path or packaged name, and use its layout by name."""

import sys

import numpy as np

from ate_core.contract import load_cell

cell = load_cell(sys.argv[1] if len(sys.argv) > 1 else None, hardware="real")
for side, arm in cell.arms.items():
    address = arm.ip or "no address"
    print(f"{cell.name}: {side} arm is {arm.model}, driver {arm.driver}, {address}")

state = cell.layout.state.pack(
    {
        "left_arm": cell.arms["left"].home,
        "left_gripper": 1.0,
        "right_arm": cell.arms["right"].home,
        "right_gripper": 1.0,
    }
)
print(f"state of {state.size} values, layout {cell.layout.sha256[:12]}")
for name, value, unit in zip(cell.layout.state.names, state, cell.layout.state.units, strict=True):
    print(f"  {name:16} {value:8.4f} {unit}")
assert np.isfinite(state).all()
