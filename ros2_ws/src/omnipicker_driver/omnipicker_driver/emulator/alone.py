"""One emulated gripper without a simulated world, for `ate emulate gripper`."""

from collections.abc import Iterator
from contextlib import contextmanager

from ate_core.contract import Cell
from omnipicker_driver.emulator.device import EmulatedGripper, EmulatorConfig
from omnipicker_driver.emulator.plant import IdealPlant
from omnipicker_driver.protocol import Command, encode_command, wrap

EXAMPLE = """python -c "import serial; line = serial.Serial('{port}', {baud}, timeout=0.5); \
line.write(bytes.fromhex('{frame}')); print(line.read(12).hex(' '))\""""


@contextmanager
def emulate(cell: Cell, side: str) -> Iterator[tuple[str, str]]:
    """Answer while the context lasts.

    Args:
        cell: a simulated cell.
        side: of the gripper.

    Yields:
        Where it answers, and a command that opens it half.
    """
    config = cell.grippers[side]
    gripper = EmulatedGripper(EmulatorConfig.from_cell(config), IdealPlant())
    gripper.start()
    half = wrap(encode_command(Command(position=0.5)), config.device_id).hex()
    try:
        yield (
            f"OmniPicker {config.device_id} on {config.port}, {config.baud} bit/s",
            EXAMPLE.format(port=config.port, baud=config.baud, frame=half),
        )
    finally:
        gripper.stop()
