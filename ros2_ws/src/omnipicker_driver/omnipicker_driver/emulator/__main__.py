"""Run one emulated gripper: ``python -m omnipicker_driver.emulator --side left --cell <yaml>``."""

import argparse
import logging
import signal
import sys
import threading

from ate_core.contract import load_cell
from ate_core.errors import AteError
from ate_core.priority import CONTROL, set_niceness
from omnipicker_driver.emulator.device import EmulatedGripper, EmulatorConfig
from omnipicker_driver.emulator.plant import IdealPlant
from omnipicker_driver.emulator.world_plant import WorldPlant

log = logging.getLogger("gripper_emulator")


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description="One emulated OmniPicker gripper.")
    parser.add_argument("--side", choices=("left", "right"), required=True)
    parser.add_argument("--cell", default=None, help="cell.yaml; default: the packaged one")
    parser.add_argument(
        "--plant",
        choices=("world", "ideal"),
        default="world",
        help="world: fingers in the simulated world, no answer without it; ideal: on its own",
    )
    options = parser.parse_args(args)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    set_niceness(CONTROL)
    try:
        cell = load_cell(options.cell, "sim")
        config = EmulatorConfig.from_cell(cell.grippers[options.side])
        plant = IdealPlant() if options.plant == "ideal" else WorldPlant(cell, options.side)
        gripper = EmulatedGripper(config, plant)
        log.info("%s gripper (%s plant) answers at %s", options.side, options.plant, config.port)
        gripper.run(stop)
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
