"""One operator's devices, emulated, to try a teleoperation node alone.

Usage: python -m operator_devices.emulator --operator left

The hand goes round on a slow circle; in every lap the clutch is let go once and the gripper is
closed once.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ate_core.contract import load_cell
from ate_core.devices import OperatorConfig
from ate_core.errors import AteError
from ate_core.geometry import pose_to_matrix
from ate_core.loop import FixedRateLoop
from ate_core.operator_buttons import operator_buttons
from operator_devices.hand_pose import Matrix
from operator_devices.joycon_emulator import JoyConEmulator, standin_path
from operator_devices.vision_pro_emulator import HeadsetEmulator

_logger = logging.getLogger(__name__)

RATE = 90.0
"""Rate of the motion, that of the headset's poses [Hz]."""


@dataclass(frozen=True, kw_only=True)
class CircleMotion:
    """What the emulated operator does, as a function of time."""

    centre: tuple[float, float, float] = (0.15, 0.45, 1.0)
    """Centre of the circle in the headset frame [m]."""
    radius: float = 0.08
    """Radius; the circle stands upright and faces the operator [m]."""
    period: float = 8.0
    """Time of one lap [s]."""
    let_go: float = 1.0
    """Time at the beginning of each lap during which the clutch is released [s]."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.let_go < self.period:
            raise ValueError(f"let_go is {self.let_go} s; it must be in 0 .. period {self.period}")

    def wrist(self, elapsed: float) -> Matrix:
        """Wrist to headset (4, 4) at a time [s]."""
        angle = 2.0 * np.pi * elapsed / self.period
        offset = self.radius * np.array([np.cos(angle), 0.0, np.sin(angle)])
        return pose_to_matrix([*(np.array(self.centre) + offset), 0.0, 0.0, 0.0, 1.0])

    def clutch(self, elapsed: float) -> bool:
        """Whether the button of the clutch is held."""
        return elapsed % self.period >= self.let_go

    def grip(self, elapsed: float) -> bool:
        """Whether the button of the gripper is held: in the second half of each lap."""
        return elapsed % self.period >= 0.5 * self.period


class OperatorEmulator:
    """The headset and the Joy-Con of one operator of the cell."""

    def __init__(self, operator: OperatorConfig, hid_dir: Path) -> None:
        self._operator = operator
        self.headset = HeadsetEmulator(operator.headset_ip, operator.headset_port)
        self.joycon = JoyConEmulator(operator.joycon_serial, operator.joycon_side, hid_dir)

    def __enter__(self) -> "OperatorEmulator":
        self.headset.start()
        try:
            self.joycon.start()
        except AteError:
            self.headset.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.joycon.stop()
        self.headset.stop()

    def hold_button(self, button: str, held: bool) -> None:
        """Presses or releases a button."""
        (self.joycon.press if held else self.joycon.release)(button)

    def perform(self, motion: CircleMotion, elapsed: float) -> None:
        """Brings hand and buttons to where the motion has them at a time [s]."""
        hand = self._operator.hand
        self.headset.set_wrist(hand, motion.wrist(elapsed))
        self.headset.set_tracked(hand, True)
        for button, held in buttons_of(self._operator, motion, elapsed).items():
            self.hold_button(button, held)


def buttons_of(operator: OperatorConfig, motion: CircleMotion, elapsed: float) -> dict[str, bool]:
    """Button of the cell for clutch and gripper -> whether it is held at a time [s]."""
    chosen = operator_buttons(operator.joycon_side, operator.buttons)
    held = {"clutch": motion.clutch(elapsed), "gripper": motion.grip(elapsed)}
    return {chosen[action]: down for action, down in held.items() if action in chosen}


def main(args: Sequence[str] | None = None) -> int:
    """Runs until Ctrl-C; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m operator_devices.emulator", description=__doc__
    )
    parser.add_argument("--operator", default="left", help="operator in cell.yaml (left)")
    parser.add_argument("--cell", default=None, help="path of a cell.yaml (the packaged one)")
    parser.add_argument("--period", type=float, default=8.0, help="time of one lap [s] (8)")
    parser.add_argument(
        "--radius", type=float, default=0.08, help="radius of the circle [m] (0.08)"
    )
    options = parser.parse_args(args)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        _run(
            options.operator,
            options.cell,
            CircleMotion(period=options.period, radius=options.radius),
        )
    except (AteError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(name: str, cell_path: str | None, motion: CircleMotion) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cell = load_cell(cell_path, "sim")
    if name not in cell.operators:
        raise AteError(f"no operator {name!r} in the cell; choose {' or '.join(cell.operators)}")
    operator = cell.operators[name]
    hid_dir = cell.runtime_path("hid")
    with OperatorEmulator(operator, hid_dir) as emulator:
        _logger.info(
            "headset on %s:%d, Joy-Con %s in %s; Ctrl-C ends. A node sees the Joy-Con with\n"
            "  export PYTHONPATH=%s:$PYTHONPATH ATE_HID_DIR=%s",
            operator.headset_ip,
            operator.headset_port,
            operator.joycon_serial,
            hid_dir,
            standin_path(),
            hid_dir,
        )
        start_ns = None
        lamps = 0
        for now_ns in FixedRateLoop(RATE, stop):
            start_ns = now_ns if start_ns is None else start_ns
            emulator.perform(motion, (now_ns - start_ns) * 1e-9)
            if emulator.joycon.lamps != lamps:
                lamps = emulator.joycon.lamps
                _logger.info("lamps %s", format(lamps, "04b")[::-1])


if __name__ == "__main__":
    sys.exit(main())
