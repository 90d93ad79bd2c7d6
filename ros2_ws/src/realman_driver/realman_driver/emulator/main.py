"""Run one emulated controller as a process of its own."""

import logging
import signal
import sys
from pathlib import Path

from arm_driver.emulator_options import emulator_parser, make_plant
from arm_driver.plant import Plant
from ate_core.contract import Cell, load_cell
from ate_core.errors import AteError
from ate_core.priority import CONTROL, set_niceness
from realman_driver.emulator.server import ControllerServer, ServerConfig


def control_path(runtime_dir: str | Path, side: str) -> Path:
    """Unix socket on which the controller of one arm takes faults and queries."""
    return Path(runtime_dir) / f"arm_{side}.control"


def make_server(cell: Cell, side: str, plant: Plant) -> ControllerServer:
    """Controller of one arm of a cell, listening at the addresses the cell names."""
    arm = cell.arms[side]
    config = ServerConfig(
        ip=arm.ip,
        tcp_port=arm.tcp_port,
        udp_port=arm.udp_port,
        control_path=control_path(cell.runtime_dir, side),
    )
    return ControllerServer(config, plant)


def main(args: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = emulator_parser(
        "python -m realman_driver.emulator",
        "An RM75-6F controller that the unmodified Robotic_Arm SDK connects to.",
    )
    options = parser.parse_args(args)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"[arm {options.side}] %(levelname)s %(message)s",
    )
    try:
        return _serve(options.side, options.cell, options.plant)
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _serve(side: str, cell_path: str | None, plant_name: str) -> int:
    set_niceness(CONTROL)
    cell = load_cell(cell_path, "sim")
    server = make_server(cell, side, make_plant(plant_name, cell, side))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    arm = cell.arms[side]
    logging.getLogger(__name__).info("listening at %s:%d", arm.ip, arm.tcp_port)
    server.run()
    return 0
