"""An OmniPicker that answers the same bytes on a pseudo-terminal, for tests and dry runs."""

from omnipicker_driver.emulator.control import call
from omnipicker_driver.emulator.device import EmulatedGripper, EmulatorConfig
from omnipicker_driver.emulator.plant import GripperPlant, IdealPlant
from omnipicker_driver.emulator.world_plant import WorldPlant

__all__ = [
    "EmulatedGripper",
    "EmulatorConfig",
    "GripperPlant",
    "IdealPlant",
    "WorldPlant",
    "call",
]
