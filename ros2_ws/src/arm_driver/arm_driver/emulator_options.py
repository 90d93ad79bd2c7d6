"""Words that every emulated arm takes on its command line, and the arm behind it."""

import argparse

import numpy as np

from arm_driver.plant import IdealPlant, Plant, WorldPlant
from ate_core.contract import Cell


def emulator_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Parser of ``--side``, ``--cell`` and ``--plant``."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--side", required=True, choices=("left", "right"), help="which arm")
    parser.add_argument("--cell", default=None, help="cell.yaml or the name of a packaged cell")
    parser.add_argument(
        "--plant",
        default="world",
        choices=("world", "ideal"),
        help="world: the arm in the running simulated cell; ideal: joints with a small lag",
    )
    return parser


def make_plant(name: str, cell: Cell, side: str) -> Plant:
    """The arm that ``--plant`` names, at home where it is ideal."""
    if name == "ideal":
        return IdealPlant(np.array(cell.arms[side].home, dtype=np.float64))
    return WorldPlant(cell, side)
