"""Where the operators' hands come from: their own devices, or a replay of recorded ones.

A replay is served by emulated devices on this machine. Those of a real cell are others than those
of the simulated one, so that hands played for the one never reach the other.
"""

import os
from dataclasses import replace
from pathlib import Path

from ate_core.contract import SIDES, Cell
from ate_core.devices import OperatorConfig

DEVICES, REPLAY = "devices", "replay"
HANDS = (DEVICES, REPLAY)
"""Choices of the launch argument and of the parameter ``hands``."""
REAL_REPLAY_PORT = 12346
"""Port of a replayed headset of a real cell; the simulated ones have the app's own."""
NO_MAKER = "02:00:00:00:AA:0"
"""Begin of the addresses of replayed Joy-Cons, which no maker gives."""


def joycon_folder(cell: Cell) -> Path:
    """Folder of the sockets of emulated Joy-Cons."""
    if cell.hardware == "sim":
        return cell.runtime_path("hid")
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/ate-{os.getuid()}")) / "ate_replay_hid"


def replayed_operator(cell: Cell, side: str) -> OperatorConfig:
    """The operator of a cell with the devices on which a replay is played."""
    operator = cell.operators[side]
    if cell.hardware == "sim":
        return operator
    number = 1 + SIDES.index(operator.arm)
    return replace(
        operator,
        headset_ip=f"127.0.0.{1 + number}",
        headset_port=REAL_REPLAY_PORT,
        joycon_serial=f"{NO_MAKER}{number}",
    )
