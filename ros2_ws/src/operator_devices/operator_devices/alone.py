"""A headset or a Joy-Con of one operator without the other, for `ate emulate`."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ate_core.contract import Cell
from ate_core.loop import FixedRateLoop, running_beside
from operator_devices.emulator import RATE, CircleMotion, buttons_of
from operator_devices.joycon_emulator import JoyConEmulator, standin_path
from operator_devices.vision_pro_emulator import HeadsetEmulator

HEADSET_EXAMPLE = """python -c "import time; \
from operator_devices.vision_pro import VisionProConfig, VisionProReader; \
headset = VisionProReader(VisionProConfig(ip='{ip}', port={port}, hand='{hand}')); \
headset.start(); time.sleep(1); print(headset.status, headset.latest()); headset.stop()\""""
JOYCON_EXAMPLE = """PYTHONPATH={standin} ATE_HID_DIR={folder} \
python -c "import time; from operator_devices.joycon import JoyConConfig, JoyConReader; \
joycon = JoyConReader(JoyConConfig(serial='{serial}', side='{side}')); \
joycon.start(); time.sleep(1); print(joycon.status, joycon.latest()); joycon.stop()\""""


@contextmanager
def emulate_headset(cell: Cell, side: str) -> Iterator[tuple[str, str]]:
    """Track a hand on a slow circle while the context lasts.

    Args:
        cell: a simulated cell.
        side: of the operator.

    Yields:
        Where it listens, and a command that reads it.
    """
    one, motion = cell.operators[side], CircleMotion()

    def move(elapsed: float) -> None:
        headset.set_wrist(one.hand, motion.wrist(elapsed))
        headset.set_tracked(one.hand, True)

    with HeadsetEmulator(one.headset_ip, one.headset_port) as headset, _repeated(move):
        yield (
            f"Vision Pro at {one.headset_ip}:{one.headset_port}, {one.hand} hand on a circle",
            HEADSET_EXAMPLE.format(ip=one.headset_ip, port=one.headset_port, hand=one.hand),
        )


@contextmanager
def emulate_joycon(cell: Cell, side: str) -> Iterator[tuple[str, str]]:
    """Press the buttons of clutch and gripper in turn while the context lasts.

    Args:
        cell: a simulated cell.
        side: of the operator.

    Yields:
        Where it is, and a command that reads it.
    """
    one, motion = cell.operators[side], CircleMotion()
    folder = cell.runtime_path("hid")

    def press(elapsed: float) -> None:
        for button, held in buttons_of(one, motion, elapsed).items():
            (joycon.press if held else joycon.release)(button)

    with JoyConEmulator(one.joycon_serial, one.joycon_side, folder) as joycon, _repeated(press):
        yield (
            f"{one.joycon_side} Joy-Con {one.joycon_serial} in {folder}",
            JOYCON_EXAMPLE.format(
                standin=standin_path(),
                folder=folder,
                serial=one.joycon_serial,
                side=one.joycon_side,
            ),
        )


@contextmanager
def _repeated(act: Callable[[float], None]) -> Iterator[None]:
    """Call ``act`` with the time since the start [s] at the rate of the devices."""
    stop, begin = threading.Event(), time.monotonic()

    def run() -> None:
        for now_ns in FixedRateLoop(RATE, stop):
            act(1e-9 * now_ns - begin)

    with running_beside(run, stop, "emulated operator"):
        yield
