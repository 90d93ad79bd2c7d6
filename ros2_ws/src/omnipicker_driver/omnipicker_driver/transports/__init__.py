"""How the 8 bytes of a command and a report travel: one file per transport, named in the cell.

A transport is found by its name in ``cell.yaml`` (`ate_core.drivers.GRIPPER_TRANSPORTS`). Each
file ends in a `TransportKind`: the host's side for the driver, the adapter's for the emulator.
"""

from omnipicker_driver.transports.interface import Adapter, Transport, TransportKind, load_kind

__all__ = ["Adapter", "Transport", "TransportKind", "load_kind"]
